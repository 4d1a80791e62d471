"""Which address belongs to which room."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import URLPattern, URLResolver, include, path

from classifier import monitoring
from classifyme import appearance, health

urlpatterns: list[URLPattern | URLResolver] = [
    # In this order: the API has a root of its own at "".
    path("", include("classifier.pages.urls")),
    path("", include("classifier.api.urls")),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("appearance/", appearance.choose, name="appearance"),
    path("training/", include("training.urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", monitoring.scrape, name="metrics"),
]

handler400 = "classifier.pages.classifying.bad_request"
