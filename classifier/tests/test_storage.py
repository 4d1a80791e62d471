"""Where pictures are, here and at Cloudinary: the real SDK, a real folder, a real HTTP server."""

import errno
import io
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django_tasks_db.models import DBTaskResult
from PIL import Image
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from classifier import checks, storage
from classifier.imaging.formats import EXTENSIONS
from classifier.models import StorageState, Upload
from classifier.storage import CloudinaryStorage
from classifier.tests.cloudinary_server import DROP, STALL, CloudinaryServer
from classifier.tests.pictures import encoded, photo

KEY = "uploads/ab/cd/abcdef.jpg"
PUBLIC_ID = "classifyme/uploads/ab/cd/abcdef"
PICTURE = encoded(photo(300, 200), "JPEG")


class FullDisk(FileSystemStorage):
    """A disk that takes a part of every file, and then no more."""

    error = errno.ENOSPC

    def _save(self, name: str, content: Any) -> str:
        super()._save(name, ContentFile(content.read(10)))  # type: ignore[misc]
        raise OSError(self.error, "a test's disk")


class ForbiddenDisk(FullDisk):
    error = errno.EACCES


def use_disk(settings: Settings, disk: type[FileSystemStorage]) -> None:
    backend = f"{disk.__module__}.{disk.__qualname__}"
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend}}


def an_upload(**fields: Any) -> Upload:
    values = {"media_type": "image/jpeg", "bytes": len(PICTURE), "width": 300, "height": 200}
    return Upload.objects.create(**{"storage_key": KEY, **values, **fields})


def kept_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def get(url: str) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager() as http:
        return http.request("GET", url, retries=False, timeout=5)


# --- Here ---------------------------------------------------------------------------------------


def test_a_kept_picture_has_a_random_name_in_shards(media_root: Path) -> None:
    keys = {storage.keep(PICTURE, "image/jpeg") for _ in range(3)}
    assert len(keys) == 3
    for key in keys:
        assert re.fullmatch(r"uploads/([0-9a-f]{2})/\1[0-9a-f]{30}\.jpg", key)
        assert (media_root / key).read_bytes() == PICTURE


@pytest.mark.parametrize(("media_type", "extension"), EXTENSIONS.items())
def test_the_key_ends_as_the_decoded_format_does(media_type: str, extension: str) -> None:
    assert storage.new_key(media_type).endswith(f".{extension}")


def test_a_full_disk_is_told_apart_and_leaves_no_half_picture(
    media_root: Path, settings: Settings
) -> None:
    use_disk(settings, FullDisk)
    with pytest.raises(storage.StorageFull, match="no room left"):
        storage.keep(PICTURE, "image/jpeg")
    assert kept_files(media_root) == []


def test_a_name_that_is_taken_is_refused_and_its_picture_stays(
    media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = storage.keep(PICTURE, "image/jpeg")
    monkeypatch.setattr(storage, "new_key", lambda media_type: key)
    with pytest.raises(storage.StorageUnavailable):
        storage.keep(b"another", "image/jpeg")
    assert (media_root / key).read_bytes() == PICTURE


def test_a_kept_picture_has_the_permissions_that_the_settings_name(
    media_root: Path, settings: Settings
) -> None:
    settings.FILE_UPLOAD_PERMISSIONS = 0o604
    key = storage.keep(PICTURE, "image/jpeg")
    assert (media_root / key).stat().st_mode & 0o777 == 0o604


def test_a_folder_that_may_not_be_written_to_is_a_sentence(
    media_root: Path, settings: Settings
) -> None:
    use_disk(settings, ForbiddenDisk)
    with pytest.raises(storage.StorageUnavailable, match="try again later") as caught:
        storage.keep(PICTURE, "image/jpeg")
    assert not isinstance(caught.value, storage.StorageFull)
    assert kept_files(media_root) == []


@pytest.mark.django_db
def test_a_picture_that_is_here_is_opened_here(media_root: Path) -> None:
    upload = an_upload(storage_key=storage.keep(PICTURE, "image/jpeg"))
    with storage.open_upload(upload) as picture:
        assert picture.read() == PICTURE
    assert storage.delivery_url(upload, 160) is None


@pytest.mark.django_db
def test_a_picture_that_is_nowhere_is_missing(media_root: Path) -> None:
    with pytest.raises(storage.PictureMissing):
        storage.open_upload(an_upload())


@pytest.mark.django_db
def test_a_picture_in_a_cloud_that_is_no_longer_configured_is_unavailable(
    media_root: Path,
) -> None:
    upload = an_upload(storage_state=StorageState.CLOUD)
    with pytest.raises(storage.StorageUnavailable, match="no Cloudinary account"):
        storage.open_upload(upload)


# --- In the cloud -------------------------------------------------------------------------------


def test_an_upload_is_signed_and_closed_to_the_public(cloudinary: CloudinaryServer) -> None:
    assert storage.cloud().save(KEY, ContentFile(PICTURE)) == KEY
    asset = cloudinary.assets[PUBLIC_ID]
    assert asset.content == PICTURE
    assert asset.type == "authenticated"
    # Nothing that would make Cloudinary answer or derive what the picture's metadata says.
    assert set(asset.parameters) == {
        "api_key",
        "discard_original_filename",
        "invalidate",
        "overwrite",
        "public_id",
        "signature",
        "timestamp",
        "type",
    }


def test_the_type_may_be_private(cloudinary: CloudinaryServer) -> None:
    cloud = CloudinaryStorage(**cloudinary.options(type="private"))
    cloud.save(KEY, ContentFile(PICTURE))
    assert cloudinary.assets[PUBLIC_ID].type == "private"
    with cloud.open(KEY) as picture:
        assert picture.read() == PICTURE
    assert get(cloud.resized_url(KEY, 64)).status == 200


def test_the_type_may_not_be_public(cloudinary: CloudinaryServer) -> None:
    with pytest.raises(ImproperlyConfigured, match="Received: 'upload'"):
        CloudinaryStorage(**cloudinary.options(type="upload"))


def test_an_option_that_is_not_understood_is_found_at_start(
    cloudinary: CloudinaryServer, settings: Settings
) -> None:
    assert checks.check_cloud_options(None) == []
    for option in ({"upload_preset": "public"}, {"type": "upload"}):
        cloud = {**settings.STORAGES["cloud"], "OPTIONS": cloudinary.options(**option)}
        settings.STORAGES = {**settings.STORAGES, "cloud": cloud}
        assert [message.id for message in checks.check_cloud_options(None)] == ["classifier.E004"]


def test_it_saves_over_what_an_earlier_attempt_left(cloudinary: CloudinaryServer) -> None:
    for _ in range(2):
        storage.cloud().save(KEY, ContentFile(PICTURE))
    assert list(cloudinary.assets) == [PUBLIC_ID]


def test_it_knows_what_is_there_and_downloads_it(cloudinary: CloudinaryServer) -> None:
    cloud = storage.cloud()
    assert not cloud.exists(KEY)
    cloud.save(KEY, ContentFile(PICTURE))
    assert cloud.exists(KEY)
    with cloud.open(KEY) as picture:
        assert picture.read() == PICTURE


def test_a_download_that_does_not_end_is_cut_off(
    cloudinary: CloudinaryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.cloud().save(KEY, ContentFile(PICTURE))
    monkeypatch.setattr(storage, "DOWNLOAD_MAX_BYTES", len(PICTURE) - 1)
    with pytest.raises(storage.CloudRefused, match="larger than any picture"):
        storage.cloud().open(KEY)


def test_a_download_that_drips_is_cut_off(
    cloudinary: CloudinaryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.cloud().save(KEY, ContentFile(PICTURE))
    monkeypatch.setattr(storage, "DOWNLOAD_SECONDS", -1)
    with pytest.raises(storage.CloudUnavailable, match="too slowly"):
        storage.cloud().open(KEY)


def test_a_thumbnail_comes_by_a_signed_url_and_is_small(cloudinary: CloudinaryServer) -> None:
    storage.cloud().save(KEY, ContentFile(PICTURE))
    upload = Upload(storage_key=KEY, storage_state=StorageState.CLOUD)
    url = storage.delivery_url(upload, 96)
    assert url is not None
    assert "/image/authenticated/s--" in url
    answer = get(url)
    assert answer.status == 200
    with Image.open(io.BytesIO(answer.data)) as image:
        assert image.size == (96, 64)


def test_the_size_in_a_url_cannot_be_changed(cloudinary: CloudinaryServer) -> None:
    storage.cloud().save(KEY, ContentFile(PICTURE))
    url = storage.cloud().resized_url(KEY, 96)
    other = url.replace("w_96", "w_97")
    assert other != url
    assert get(other).status == 401


def test_the_original_needs_a_signature_too(cloudinary: CloudinaryServer) -> None:
    storage.cloud().save(KEY, ContentFile(PICTURE))
    url = storage.cloud().url(KEY)
    assert get(url).data == PICTURE
    assert get(re.sub(r"s--.{8}--/", "", url)).status == 404
    assert get(re.sub(r"s--.{8}--/", "s--AAAAAAAA--/", url)).status == 401


def test_urls_are_https_at_cloudinary_unless_said_otherwise() -> None:
    cloud = CloudinaryStorage(cloud_name="acme", api_key="key", api_secret="secret")
    url = urlsplit(cloud.resized_url(KEY, 96))
    assert (url.scheme, url.netloc) == ("https", "res.cloudinary.com")
    own = CloudinaryStorage(
        cloud_name="acme",
        api_key="k",
        api_secret="s",
        secure_distribution="img.acme.org",
        private_cdn="true",
    )
    assert own.url(KEY).startswith("https://img.acme.org/image/authenticated/s--")


def test_it_deletes_and_does_not_mind_what_is_gone(cloudinary: CloudinaryServer) -> None:
    storage.cloud().save(KEY, ContentFile(PICTURE))
    storage.cloud().delete(KEY)
    storage.cloud().delete(KEY)
    assert cloudinary.assets == {}


@pytest.mark.parametrize("fault", [420, 429, 500, 502, 503, DROP])
@pytest.mark.parametrize("call", ["save", "delete", "open", "exists"])
def test_what_passes_is_worth_another_try(
    cloudinary: CloudinaryServer, fault: int | str, call: str
) -> None:
    cloudinary.broken = fault
    arguments = (KEY, ContentFile(PICTURE)) if call == "save" else (KEY,)
    with pytest.raises(storage.CloudUnavailable):
        getattr(storage.cloud(), call)(*arguments)


@pytest.mark.parametrize("fault", [400, 401, 403])
@pytest.mark.parametrize("call", ["save", "delete", "open", "exists"])
def test_what_will_be_refused_again_is_told_apart(
    cloudinary: CloudinaryServer, fault: int, call: str
) -> None:
    cloudinary.broken = fault
    arguments = (KEY, ContentFile(PICTURE)) if call == "save" else (KEY,)
    with pytest.raises(storage.CloudRefused):
        getattr(storage.cloud(), call)(*arguments)


@pytest.mark.parametrize("call", ["save", "delete", "open"])
def test_it_does_not_wait_longer_than_the_timeout(cloudinary: CloudinaryServer, call: str) -> None:
    cloudinary.broken = STALL
    cloud = CloudinaryStorage(**cloudinary.options(timeout=0.2))
    arguments = (KEY, ContentFile(PICTURE)) if call == "save" else (KEY,)
    with pytest.raises(storage.CloudUnavailable):
        getattr(cloud, call)(*arguments)


def test_a_cloud_that_nobody_listens_at_is_unavailable(cloudinary: CloudinaryServer) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    cloud = CloudinaryStorage(**cloudinary.options(upload_prefix=nobody))
    with pytest.raises(storage.CloudUnavailable):
        cloud.save(KEY, ContentFile(PICTURE))


def test_a_wrong_secret_is_refused_and_not_repeated(cloudinary: CloudinaryServer) -> None:
    cloud = CloudinaryStorage(**cloudinary.options(api_secret="not-the-secret"))
    with pytest.raises(storage.CloudRefused, match="Invalid Signature") as caught:
        cloud.save(KEY, ContentFile(PICTURE))
    assert "not-the-secret" not in str(caught.value)
    assert cloudinary.assets == {}


@pytest.mark.django_db
def test_a_picture_carried_after_its_row_was_read_is_still_found(
    cloudinary: CloudinaryServer,
) -> None:
    upload = an_upload(storage_state=StorageState.WAITING)
    storages["cloud"].save(KEY, ContentFile(PICTURE))
    Upload.objects.update(storage_state=StorageState.CLOUD)
    with storage.open_upload(upload) as picture:
        assert picture.read() == PICTURE


# --- Deletion -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_picture_here_goes_after_the_commit(
    media_root: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    upload = an_upload(storage_key=storage.keep(PICTURE, "image/jpeg"))
    with django_capture_on_commit_callbacks(execute=True):
        upload.delete()
        assert len(kept_files(media_root)) == 1
    assert kept_files(media_root) == []


@pytest.mark.django_db
def test_deleting_an_account_deletes_its_pictures(
    media_root: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    owner = User.objects.create_user("ada")
    an_upload(storage_key=storage.keep(PICTURE, "image/jpeg"), owner=owner)
    with django_capture_on_commit_callbacks(execute=True):
        owner.delete()
    assert kept_files(media_root) == []


@pytest.mark.django_db
def test_the_picture_in_the_cloud_is_deleted_by_a_task(cloudinary: CloudinaryServer) -> None:
    storage.cloud().save(KEY, ContentFile(PICTURE))
    cloudinary.requests.clear()
    an_upload(storage_state=StorageState.CLOUD).delete()
    # The one who deletes does not wait for the cloud.
    assert cloudinary.requests == []
    row = DBTaskResult.objects.get()
    assert row.task.call(*row.args_kwargs["args"]) == "deleted"
    assert cloudinary.assets == {}
