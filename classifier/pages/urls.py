"""The addresses of the pages."""

from django.urls import path

from classifier.pages import choosing, classifying, correcting, labels, live, review, views, why

app_name = "pages"

urlpatterns = [
    path("", classifying.index, name="index"),
    path("live/", live.live, name="live"),
    path("live/frame/", live.frame, name="live-frame"),
    path("history/", views.history, name="history"),
    path("history/correct/", choosing.correct, name="history-correct"),
    path("history/correct/undo/", choosing.take_back, name="history-take-back"),
    path("history/delete/", choosing.delete, name="history-delete"),
    path("history/export/", choosing.export, name="history-export"),
    path("labels/", labels.labels, name="labels"),
    path("labels/files/", labels.transfers, name="labels-transfers"),
    path("labels/label-studio/<str:name>.xml", labels.configuration, name="labels-configuration"),
    path("labels/export/", labels.export, name="labels-export"),
    path("labels/exports/<uuid:export_id>/", labels.download, name="labels-download"),
    path(
        "labels/exports/<uuid:export_id>/remove/",
        labels.remove_export,
        name="labels-remove-export",
    ),
    path("labels/import/", labels.bring, name="labels-import"),
    path("labels/imports/<uuid:import_id>/confirm/", labels.confirm, name="labels-confirm"),
    path("labels/imports/<uuid:import_id>/report/", labels.report, name="labels-report"),
    path(
        "labels/imports/<uuid:import_id>/remove/",
        labels.remove_import,
        name="labels-remove-import",
    ),
    path("review/", review.review, name="review"),
    path("review/next/", review.review_next, name="review-next"),
    path("review/release/", review.review_release, name="review-release"),
    path("predictions/<uuid:prediction_id>/", views.prediction, name="prediction"),
    path("predictions/<uuid:prediction_id>/json/", views.prediction_json, name="prediction-json"),
    path("predictions/<uuid:prediction_id>/correct/", correcting.correct, name="correct"),
    path("corrections/<uuid:correction_id>/withdraw/", correcting.withdraw, name="withdraw"),
    path("predictions/<uuid:prediction_id>/delete/", views.delete, name="delete"),
    path("predictions/<uuid:prediction_id>/why/", why.why, name="why"),
    path("uploads/<uuid:upload_id>/", views.upload, name="upload"),
    path("uploads/<uuid:upload_id>/picture/", views.picture, name="picture"),
    path("uploads/<uuid:upload_id>/preview/", views.preview, name="preview"),
    path("uploads/<uuid:upload_id>/thumbnail/", views.thumbnail, name="thumbnail"),
]
