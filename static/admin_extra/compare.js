// Shows how far the versions are without the page being loaded again; at the end loads it once.
const PAUSE = 2000;
const place = document.getElementById("compare-progress");

async function look() {
    const now = place.querySelector("[data-address]");
    if (document.hidden || !now) {
        return;
    }
    const response = await fetch(now.dataset.address, { credentials: "same-origin" });
    if (!response.ok || response.redirected) {
        return;
    }
    const words = await response.text();
    // Only what changed is put in, so that a screen reader is not told the same again.
    if (words.trim() !== place.innerHTML.trim()) {
        place.innerHTML = words;
    }
    if (place.querySelector("[data-under-way]").dataset.underWay === "no") {
        location.reload();
    }
}

if (place) {
    setInterval(() => look().catch(() => {}), PAUSE);
}
