"""The addresses of training's pages in the application."""

from django.urls import path

from training import snapshot_pages

app_name = "training"

urlpatterns = [
    path("snapshots/", snapshot_pages.index, name="snapshots"),
    path("snapshots/offer/", snapshot_pages.offer, name="snapshot-offer"),
]
