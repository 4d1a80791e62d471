"""The addresses of the pages."""

from django.urls import path

from classifier.pages import views

app_name = "pages"

urlpatterns = [
    path("", views.index, name="index"),
    path("history/", views.history, name="history"),
    path("predictions/<uuid:prediction_id>/", views.prediction, name="prediction"),
    path("predictions/<uuid:prediction_id>/delete/", views.delete, name="delete"),
    path("uploads/<uuid:upload_id>/picture/", views.picture, name="picture"),
    path("uploads/<uuid:upload_id>/thumbnail/", views.thumbnail, name="thumbnail"),
]
