from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from training import snapshots
        from training.datasets import sources

        sources.register_lister(snapshots.SOURCE, snapshots.lister)
