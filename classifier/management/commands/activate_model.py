"""manage.py activate_model: let a version serve."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier import gate, registry
from classifier.management import arguments


class Command(BaseCommand):
    help = (
        "Make a version the active one of its registered model, if the model's activation gate "
        "lets it pass. It is verified and proven first; every process serves it within two "
        "seconds, without a restart."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="The registered model, e.g. cifar10.")
        parser.add_argument(
            "version",
            nargs="?",
            help="The version's number, e.g. 3 or v3. Default: the newest that is not archived.",
        )
        arguments.add_who_and_why(parser)
        arguments.add_override(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        model = arguments.model_named(options["name"])
        version = arguments.version_numbered(model, options["version"])
        by = arguments.user_named(options["by"])
        if version.is_active:
            self.stdout.write(f"{version} is active already. Nothing was changed.")
            return
        try:
            activation = registry.activate(
                version, by=by, reason=options["reason"], override=options["override_gate"]
            )
        except registry.GateRefused as refusal:
            raise CommandError(_refused(refusal.verdict), returncode=2) from refusal
        except registry.RegistryError as error:
            raise CommandError(str(error), returncode=2) from error
        for line in _lines(activation.gate):
            self.stdout.write(line)
        over = ", over the gate" if activation.overrode else ""
        self.stdout.write(self.style.SUCCESS(f"{version} is active{over}."))


def _refused(verdict: gate.Verdict) -> str:
    findings = [finding.to_json() for finding in verdict.findings]
    first = f"{verdict.version} does not pass the activation gate. Nothing was changed."
    last = "To activate it all the same: --override-gate --reason WHY"
    return "\n".join([first, *_lines(findings), last])


def _lines(findings: list[dict[str, str]]) -> list[str]:
    """Return a line a rule: what came of it, its name, the numbers."""
    return [f"  {each['outcome']:<7}  {each['rule']}: {each['sentence']}" for each in findings]
