"""What the admin's front page tells of learning."""

import os

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from training import leases, requests, surroundings
from training.models import Outcome, TrainingRequest, TrainingRun
from training.orders import Order

pytestmark = pytest.mark.django_db


def make_run(recipe: str, outcome: Outcome, **fields: object) -> TrainingRun:
    return TrainingRun.objects.create(
        **{"recipe": recipe, "settings": {}, "seed": 7, "model_name": "cifar10"},
        **{"dataset_name": "swatches", "dataset_digest": "0" * 64, "command": "train"},
        **{"folder": "/nowhere", "host": surroundings.host(), "pid": os.getpid()},
        outcome=outcome,
        **fields,
    )


def test_the_front_page_tells_what_is_training_what_waits_and_what_came_out(
    client: Client,
) -> None:
    make_run("cifar10_fast", Outcome.RUNNING, phase="training", epoch=3, epochs=16)
    make_run("baseline_cnn", Outcome.FAILED)
    for _ in range(2):
        TrainingRequest.objects.create(recipe="front_back")
    client.force_login(User.objects.create_superuser("ada"))

    page = " ".join(client.get(reverse("admin:index")).content.decode().split())

    assert "cifar10_fast, seed 7</a>" in page
    assert "epoch 3/16" in page
    assert "baseline_cnn, seed 7</a>: failed" in page
    assert "<dt>In line</dt><dd>2</dd>" in page
    assert "Nothing is training now" not in page


def test_what_is_being_prepared_counts_as_training(client: Client) -> None:
    made = requests.start(Order("baseline_cnn", smoke=True), by=None)
    leases.take(made.pk, "a")
    client.force_login(User.objects.create_superuser("ada"))
    page = client.get(reverse("admin:index")).content.decode()
    assert reverse("admin:training_trainingrequest_change", args=[made.pk]) in page
    assert "reading the data" in page
    assert "Nothing is training now" not in page
