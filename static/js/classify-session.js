// The last answers of this tab: what was answered before one went elsewhere is shown on coming back.
// It is all in the history too; here stand names and links only, for this tab and this person alone.

const KEY = "classifyme.answers";
const MOST = 200;
const KEPT = ["name", "label", "percent", "level", "words", "page", "thumbnail"];

export function remembered(person) {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY));
    return found?.person === person ? found : { answers: [], unsent: 0 };
  } catch {
    return { answers: [], unsent: 0 };
  }
}

export function remember(person, answers, unsent) {
  const kept = answers.slice(-MOST).map((facts) => Object.fromEntries(KEPT.map((key) => [key, facts[key]])));
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ person, answers: kept, unsent }));
  } catch {
    // No room, or no storage allowed: the history has it all the same.
  }
}

export function forget() {
  sessionStorage.removeItem(KEY);
}
