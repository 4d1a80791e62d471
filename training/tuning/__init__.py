"""The room where settings are searched: a study of many short trainings, pure of Django.

`spaces` says what is searched, `studies` where that is kept, `trials` what one trial is, `search`
how one follows the other; `report` and `written` are what is left of it.
"""
