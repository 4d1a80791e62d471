"""The HTTP API: what other programs call. `classifier.api.urls` puts it together."""
