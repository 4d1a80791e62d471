"""What the form of the front page can ask: many pictures, an address, a model, side by side."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles import finders
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image
from pytest_django import DjangoAssertNumQueries, Settings

from classifier import classification, imaging, registry, runtimes, serving, storage, visitors
from classifier.bundles import Bundle
from classifier.manifest import NotSure
from classifier.measured import Answered, MeasuredLevel, Search
from classifier.models import ModelVersion, Prediction, RegisteredModel, Upload
from classifier.pages import asking, samples
from classifier.pages.answers import Answer, SideBySide
from classifier.tests.bundles import make_bundle, picture
from classifier.tests.odd_sites import answering, odd_site
from classifier.tests.pasts import make_prediction

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

HTMX = {"HX-Request": "true"}


def file(content: bytes | None = None, name: str = "red.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture() if content is None else content)


def text(response: "Response") -> str:
    """The page's words, each run of blanks one blank."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


@pytest.fixture
def shades(colours: ModelVersion, tmp_path: Path) -> ModelVersion:
    """The active version of another model, which calls red pictures green."""
    bundle = make_bundle(tmp_path / "shades", name="shades", title="Shades", seed=2, rotate=1)
    return registry.register(bundle.root, activate=True, reason="for a test")


@pytest.fixture
def challenger(colours: ModelVersion, tmp_path: Path) -> ModelVersion:
    """A second version of the colours, which does not serve."""
    bundle = make_bundle(tmp_path / "second", seed=1, rotate=1)
    return registry.register(bundle.root)


def trainer() -> User:
    person = User.objects.create_user("tess", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename="view_modelversion"))
    return person


# -- many pictures --------------------------------------------------


def test_several_pictures_in_one_form_get_one_page_with_all_answers(
    client: Client, colours: ModelVersion
) -> None:
    sent = [file(picture(name), f"{name}.png") for name in ("red", "green", "blue")]
    sent.insert(1, file(b"hello", "notes.txt"))
    response = client.post("/", {"image": sent})
    page = text(response)
    assert response.status_code == 200
    assert "3 answers" in page
    assert "1 of 4 could not be answered" in page
    assert [page.index(name) for name in ("red.png", "notes.txt", "green.png", "blue.png")] == (
        sorted(page.index(name) for name in ("red.png", "notes.txt", "green.png", "blue.png"))
    )
    assert "not a picture" in page
    assert sorted(Prediction.objects.values_list("label", flat=True)) == ["blue", "green", "red"]
    # Whoever sent them finds them again.
    visitor = Upload.objects.values_list("visitor", flat=True).distinct().get()
    assert Prediction.objects.filter(visitor=visitor).count() == 3
    assert client.get(reverse("pages:picture", args=[Upload.objects.first().pk])).status_code == 200  # type: ignore[union-attr]


def test_pictures_of_a_user_are_the_users(client: Client, colours: ModelVersion) -> None:
    ada = User.objects.create_user("ada")
    client.force_login(ada)
    client.post("/", {"image": [file(), file()]})
    assert Prediction.objects.owned_by(ada).count() == 2


@pytest.mark.parametrize("more", [1, 3])
def test_more_pictures_than_allowed_are_refused_in_words(
    client: Client, colours: ModelVersion, settings: Settings, more: int
) -> None:
    # Django itself counts files and says nothing that a person could act on.
    settings.API_BATCH_MAX_ITEMS = 2
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 3
    response = client.post("/", {"image": [file() for _ in range(2 + more)]})
    assert response.status_code == 413
    assert "At most 2 pictures can be sent in one go" in text(response)
    assert not Upload.objects.exists()


def test_what_is_wrong_with_all_is_said_on_the_front_page(
    client: Client, colours: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(content: bytes, media_type: str) -> str:
        raise storage.StorageFull("No room today.")

    monkeypatch.setattr(storage, "keep", refuse)
    response = client.post("/", {"image": [file(), file()]})
    assert response.status_code == 507
    assert "No room today." in text(response)
    assert not Upload.objects.exists()


# -- from an address --------------------------------------------------


@pytest.fixture
def elsewhere(settings: Settings) -> Iterator[str]:
    """Another site, which has a blue picture; the settings allow it."""
    with odd_site() as site:
        site.answer = answering(picture("blue"))
        settings.URL_FETCHING_PRIVATE_HOSTS = [f"127.0.0.1:{site.port}"]
        yield f"http://127.0.0.1:{site.port}"


def test_a_picture_is_fetched_from_its_address(
    client: Client, colours: ModelVersion, elsewhere: str
) -> None:
    response = client.post("/", {"url": f" {elsewhere}/sky.png "})
    made = Prediction.objects.select_related("upload").get()
    assert response.headers["Location"] == reverse("pages:prediction", args=[made.pk])
    assert (made.label, made.upload.filename) == ("blue", "sky.png")


def test_a_file_and_an_address_are_both_taken(
    client: Client, colours: ModelVersion, elsewhere: str
) -> None:
    assert "2 answers" in text(client.post("/", {"image": file(), "url": f"{elsewhere}/sky.png"}))


@pytest.mark.parametrize(
    ("url", "status", "sentence"),
    [
        ("http://10.0.0.1/cat.png", 422, "public"),
        ("file:///etc/passwd", 422, "http"),
        ("https://example.org/" + "a" * 3000, 422, "longer than 2048"),
    ],
)
def test_an_address_that_is_not_fetched_is_refused_in_words(
    client: Client, colours: ModelVersion, url: str, status: int, sentence: str
) -> None:
    response = client.post("/", {"url": url}, headers=HTMX)
    assert response.status_code == status
    assert sentence in text(response)
    assert response.headers["HX-Retarget"] == "#problem"


def test_addresses_are_counted_for_whoever_is_not_signed_in(
    client: Client, colours: ModelVersion, elsewhere: str, settings: Settings
) -> None:
    settings.API_RATE_PER_ADDRESS = (1, 60)
    assert client.post("/", {"url": elsewhere}).status_code == 302
    refused = client.post("/", {"url": elsewhere})
    assert refused.status_code == 429
    assert "Come back in" in text(refused)
    client.force_login(User.objects.create_user("ada"))
    assert client.post("/", {"url": elsewhere}).status_code == 302


def test_where_addresses_are_not_fetched_nobody_is_asked_for_one(
    client: Client, colours: ModelVersion, settings: Settings
) -> None:
    assert 'name="url"' in client.get("/").content.decode()
    settings.URL_FETCHING = False
    assert 'name="url"' not in client.get("/").content.decode()
    assert client.post("/", {"url": "https://example.org/"}).status_code == 403


# -- samples --------------------------------------------------


def test_the_samples_are_small_pictures_of_shipped_models() -> None:
    sizes = []
    for sample in samples.SAMPLES:
        content = sample.read()
        sizes.append(len(content))
        assert finders.find(sample.path)
        assert imaging.decode(content).media_type == "image/jpeg"
        with Image.open(io.BytesIO(content)) as image:
            assert max(image.size) <= 320
        assert sample.shows
    assert 6 <= len(sizes) <= 16
    assert sum(sizes) < 60_000
    keys = [sample.key for sample in samples.SAMPLES]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("model", ["cifar10", "front-back"])
def test_the_shipped_version_that_serves_answers_the_samples_right(model: str) -> None:
    folder = Path(settings.BASE_DIR) / "classifier" / "pretrained" / model
    active, versions = folder / "active", sorted(folder.glob("*/manifest.json"))
    root = folder / active.read_text().strip() if active.exists() else versions[0].parent
    bundle = Bundle.open(root)
    engine = runtimes.create(
        "classifier.runtimes.onnx.OnnxRuntime", bundle.file("serve"), threads=1
    )
    for sample in samples.of_model(model):
        pixels, _ = imaging.load(sample.read(), bundle.manifest.input)
        probabilities = engine.predict(pixels[np.newaxis])[0]
        label = bundle.manifest.labels[int(probabilities.argmax())].key
        assert sample.key.startswith(label)
        assert probabilities.max() > 0.98
    engine.close()


def test_a_sample_is_classified_by_pressing_it(
    client: Client, colours: ModelVersion, tmp_path: Path
) -> None:
    assert 'name="sample"' not in client.get("/").content.decode()
    bundle = make_bundle(tmp_path / "cifar10", name="cifar10", title="CIFAR-10")
    registry.register(bundle.root, activate=True, reason="for a test")
    page = client.get("/?model=cifar10").content.decode()
    sample = samples.of_model("cifar10")[0]
    assert f'name="sample" value="{sample.key}"' in page
    response = client.post("/", {"sample": sample.key, "model": "cifar10"})
    made = Prediction.objects.select_related("upload", "version__model").get()
    assert response.headers["Location"] == reverse("pages:prediction", args=[made.pk])
    assert (made.upload.filename, made.version.model.name) == (sample.name, "cifar10")
    assert client.post("/", {"sample": "nothing"}).status_code == 404


# -- the model --------------------------------------------------


def test_a_person_chooses_the_model_and_it_is_remembered(
    client: Client, shades: ModelVersion
) -> None:
    assert "Colours v1 answers now" in text(client.get("/"))
    client.post("/", {"image": file(), "model": "shades"})
    assert Prediction.objects.get().version == shades
    assert "Shades v1 answers now" in text(client.get("/"))
    assert "Colours v1 answers now" in text(client.get("/?model=colours"))
    # The address chose: that is remembered as well.
    assert "Colours v1 answers now" in text(client.get("/"))


def test_where_the_default_does_not_serve_another_model_stands_in(
    client: Client, shades: ModelVersion
) -> None:
    RegisteredModel.objects.filter(name="colours").update(active_version=None)
    page = client.get("/")
    assert "Shades v1 answers now" in text(page)
    assert '<input type="hidden" name="model" value="shades">' in page.content.decode()


def test_a_first_answer_can_be_corrected_by_who_has_no_cookie_yet(
    client: Client, colours: ModelVersion
) -> None:
    response = client.post("/", {"image": file()}, headers=HTMX)
    address = reverse("pages:correct", args=[Prediction.objects.get().pk])
    assert address in response.content.decode()
    assert client.post(address, {"label": "green"}).status_code in (200, 302)
    assert Prediction.objects.get().correction() is not None


def test_a_script_gets_the_part_about_the_model_alone(client: Client, shades: ModelVersion) -> None:
    response = client.get("/?model=shades", headers=HTMX)
    assert "<html" not in response.content.decode()
    assert "Shades v1 answers now" in text(response)


@pytest.mark.parametrize("name", ["nothing", "NO NAME\x00", "a" * 300, "\u2603"])
def test_a_model_that_is_not_there_is_said(
    client: Client, colours: ModelVersion, name: str
) -> None:
    assert client.post("/", {"image": file(), "model": name}).status_code == 404
    page = client.get("/", {"model": name})
    assert "Colours v1 answers now" in text(page)
    # What anybody may write into an address goes into no header.
    assert asking.COOKIE not in page.cookies


def test_a_model_without_an_active_version_is_not_offered(
    client: Client, colours: ModelVersion, tmp_path: Path
) -> None:
    registry.register(make_bundle(tmp_path / "idle", name="idle", title="Idle").root)
    page = client.get("/").content.decode()
    assert "Idle" not in page
    assert "<select" not in page


# -- side by side --------------------------------------------------


def test_one_picture_through_several_versions_is_one_upload(
    client: Client, colours: ModelVersion, shades: ModelVersion
) -> None:
    both = [str(colours.pk), str(shades.pk)]
    response = client.post("/", {"image": file(), "beside": both})
    upload = Upload.objects.get()
    assert response.headers["Location"] == reverse("pages:upload", args=[upload.pk])
    said = dict(Prediction.objects.values_list("version", "label"))
    assert said == {colours.pk: "red", shades.pk: "green"}
    folder = Path(default_storage.path(""))
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1
    page = text(client.get(response.headers["Location"]))
    assert page.index("Colours v1") < page.index("Shades v1")
    assert "2 answers" in page


def test_a_script_gets_the_columns_alone(
    client: Client, colours: ModelVersion, shades: ModelVersion
) -> None:
    both = [str(shades.pk), str(colours.pk)]
    response = client.post("/", {"image": file(), "beside": both}, headers=HTMX)
    page = response.content.decode()
    assert "<html" not in page
    assert page.count('class="beside-column"') == 2
    # In the order of asking.
    assert page.index("Shades v1") < page.index("Colours v1")


def test_who_may_see_versions_may_ask_those_that_do_not_serve(
    client: Client, colours: ModelVersion, challenger: ModelVersion
) -> None:
    both = {"image": file(), "beside": [str(colours.pk), str(challenger.pk)]}
    assert client.post("/", both).status_code == 409
    assert str(challenger.pk) not in client.get("/").content.decode()
    assert not Upload.objects.exists()
    client.force_login(trainer())
    assert str(challenger.pk) in client.get("/").content.decode()
    both["image"] = file()
    page = text(client.get(client.post("/", both).headers["Location"]))
    assert "They disagree" in page


def test_versions_that_agree_are_said_to(
    colours: ModelVersion, tmp_path: Path, client: Client
) -> None:
    second = registry.register(make_bundle(tmp_path / "second", seed=1).root)
    made = classification.classify_side_by_side(
        picture("blue"), [colours, second], filename="sky.png", owner=None, visitor=visitors.new()
    )
    assert SideBySide.of(made).verdict == "Both say Blue"


@pytest.mark.parametrize("beside", [["x"], ["0" * 32] * 2, [f"{n:032x}" for n in range(5)]])
def test_versions_that_make_no_sense_are_refused(
    client: Client, colours: ModelVersion, beside: list[str]
) -> None:
    response = client.post("/", {"image": file(), "beside": beside}, headers=HTMX)
    assert response.status_code in (400, 404, 409)
    assert '<p class="problem">' in response.content.decode()
    assert not Upload.objects.exists()


def test_one_version_alone_is_asked_as_any_other(client: Client, shades: ModelVersion) -> None:
    response = client.post("/", {"image": file(), "beside": [str(shades.pk)]})
    made = Prediction.objects.get()
    assert made.version == shades
    assert response.headers["Location"] == reverse("pages:prediction", args=[made.pk])


def test_several_pictures_side_by_side_need_a_script(
    client: Client, colours: ModelVersion, shades: ModelVersion
) -> None:
    fields = {"image": [file(), file()], "beside": [str(colours.pk), str(shades.pk)]}
    response = client.post("/", fields)
    assert response.status_code == 400
    assert "one picture at a time" in text(response)


def test_if_one_version_cannot_answer_nothing_is_kept(
    colours: ModelVersion, shades: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = classification.ask

    def fail(content: bytes, version: ModelVersion) -> classification.Answer:
        if version == shades:
            raise serving.VersionUnservable("It does not load.")
        return ask(content, version=version)

    monkeypatch.setattr(classification, "ask", fail)
    with pytest.raises(serving.VersionUnservable):
        classification.classify_side_by_side(
            picture(), [colours, shades], filename="", owner=None, visitor=visitors.new()
        )
    assert not Upload.objects.exists()
    with pytest.raises(ValueError, match="at least one version"):
        classification.classify_side_by_side(
            picture(), [], filename="", owner=None, visitor=visitors.new()
        )


def test_deleting_one_of_several_answers_keeps_the_picture(
    client: Client, colours: ModelVersion, shades: ModelVersion
) -> None:
    client.post("/", {"image": file(), "beside": [str(colours.pk), str(shades.pk)]})
    first = Prediction.objects.get(version=colours)
    page = client.get(reverse("pages:prediction", args=[first.pk])).content.decode()
    assert reverse("pages:upload", args=[first.upload_id]) in page
    client.post(reverse("pages:delete", args=[first.pk]))
    assert Upload.objects.count() == 1
    rest = Prediction.objects.get()
    page = client.get(reverse("pages:prediction", args=[rest.pk])).content.decode()
    assert reverse("pages:upload", args=[rest.upload_id]) not in page.replace(
        reverse("pages:picture", args=[rest.upload_id]), ""
    )


def test_the_picture_with_all_its_answers_is_nobody_elses(
    client: Client, colours: ModelVersion
) -> None:
    made = make_prediction(colours, visitor=visitors.new())
    assert client.get(reverse("pages:upload", args=[made.upload_id])).status_code == 404


# -- what an answer says --------------------------------------------------


def measured(version: ModelVersion, threshold: float) -> None:
    """Have the version know what its levels are worth and when it had better not answer."""
    tested = Answered(images=10_000, unanswered=0.02, precision=0.987)
    not_sure = NotSure(0.99, Search.CHOSEN, threshold, validation=tested, test=tested)
    level = MeasuredLevel(answers=9_000, share=0.9, precision=0.993, interval=(0.99, 0.995))
    version.manifest["levels"] = {name: level.to_json() for name in ("high", "medium", "low")}
    version.manifest["metrics"] = {"test": {"images": 10_000, "accuracy": 0.95}}
    version.manifest["not_sure"] = not_sure.to_json()
    version.save()


def test_an_answer_says_what_its_level_is_worth(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    measured(colours, threshold=0.5)
    made = make_prediction(colours, visitor=visitor)
    page = text(client.get(reverse("pages:prediction", args=[made.pk])))
    assert "Medium confidence" in page
    assert "Medium: right 99.3 % of the time (9,000 answers on test images)." in page
    assert "Not sure" not in page


def test_an_answer_below_the_threshold_is_a_guess_and_says_so(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    measured(colours, threshold=0.9)
    made = make_prediction(colours, visitor=visitor)
    response = client.get(reverse("pages:prediction", args=[made.pk]))
    page = text(response)
    assert "Not sure. Best guess: Red" in page
    assert "Below 90.0 % this model had better not answer: take its label as a guess." in page
    assert "Above, it was right 98.7 % of the time (9,800 answers on test images)." in page
    assert "level-unsure" in response.content.decode()
    assert "Medium confidence" not in page
    assert Answer.of(made).summary == "Not sure. Best guess: Red, 75.0 %."


def test_of_many_classes_five_bars_stand_open_and_the_rest_is_folded(
    colours: ModelVersion, tmp_path: Path
) -> None:
    labels = [f"label{number}" for number in range(9)]
    bundle = make_bundle(tmp_path / "many", name="many", labels=labels)
    version = registry.register(bundle.root)
    answer = Answer.of(make_prediction(colours, label="red"))
    assert (len(answer.open_bars), len(answer.folded_bars)) == (3, 0)
    made = make_prediction(version, label="label0")
    for count, expected in ((6, (6, 0)), (7, (5, 2)), (9, (5, 4))):
        version.manifest["labels"] = [{"key": key, "name": key} for key in labels[:count]]
        made.version.manifest = version.manifest
        made.probabilities = [1 / count] * count
        answer = Answer.of(made)
        assert (len(answer.open_bars), len(answer.folded_bars)) == expected


def test_the_answer_is_there_as_json_for_whoever_may_see_the_page(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_prediction(colours, visitor=visitor)
    address = reverse("pages:prediction-json", args=[made.pk])
    assert address in client.get(reverse("pages:prediction", args=[made.pk])).content.decode()
    content = json.loads(client.get(address).content)
    assert (content["id"], content["label"], content["name"]) == (str(made.pk), "red", "Red")
    assert len(content["probabilities"]) == 3
    # Nobody without a token could follow it.
    assert content["links"]["prediction"] is None
    assert Client().get(address).status_code == 404


def test_a_users_json_names_the_address_in_the_api(client: Client, colours: ModelVersion) -> None:
    ada = User.objects.create_user("ada")
    client.force_login(ada)
    made = make_prediction(colours, owner=ada)
    content = json.loads(client.get(reverse("pages:prediction-json", args=[made.pk])).content)
    assert content["links"]["prediction"] == f"/api/v1/predictions/{made.pk}"


def test_a_script_gets_an_answer_again_without_the_page_round_it(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_prediction(colours, visitor=visitor)
    page = client.get(reverse("pages:prediction", args=[made.pk]), headers=HTMX).content.decode()
    assert "<html" not in page
    assert f'data-page="{reverse("pages:prediction", args=[made.pk])}"' in page


def test_the_front_page_asks_once_more_for_who_may_see_versions(
    client: Client, challenger: ModelVersion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(trainer())
    # Session, user, two of permissions; models, names, versions.
    with django_assert_num_queries(7):
        client.get("/")


def test_no_more_versions_can_be_ticked_than_are_asked(
    client: Client, colours: ModelVersion, shades: ModelVersion
) -> None:
    page = client.get("/").content.decode()
    assert f'data-most-beside="{asking.MOST_BESIDE}"' in page
    assert page.count('name="beside"') == 2
