"""manage.py give_role: who may do what."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier import roles
from classifier.roles import Role

NONE = "none"


class Command(BaseCommand):
    help = (
        "Put a person in a role: viewer, labeller, trainer or admin, each of which may what the "
        "one before it may. The person comes into the admin site, and out of every other role; "
        '"none" takes the role away, and the admin site with it.'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="The account. manage.py createsuperuser makes one.")
        parser.add_argument(
            "role",
            type=str.lower,
            choices=[*(role.value.lower() for role in Role), NONE],
            help="The role to have from now on.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        person = get_user_model().objects.filter(username=options["username"]).first()
        if person is None:
            sentence = "Expected the username of an account. "
            raise CommandError(f"{sentence}Received: {options['username']!r}", returncode=2)
        role = roles.named(options["role"])
        try:
            roles.give(person, role)
        except roles.RoleMissing as error:
            raise CommandError(str(error), returncode=2) from error
        if role is None:
            staff = ", and stays a superuser" if person.is_superuser else ""
            self.stdout.write(f"{person} has no role any more{staff}.")
        else:
            self.stdout.write(self.style.SUCCESS(f"{person} is {_article(role)} {role} now."))


def _article(role: Role) -> str:
    return "an" if role is Role.ADMIN else "a"
