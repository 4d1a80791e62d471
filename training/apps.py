from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from classifier import worker
        from training import requests, snapshots, tasks
        from training.datasets import sources

        sources.register_lister(snapshots.SOURCE, snapshots.lister)
        worker.register_chore(tasks.QUEUE, requests.enqueue_forgotten)
