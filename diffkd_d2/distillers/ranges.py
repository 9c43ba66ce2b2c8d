"""Range checks for the options of distillers."""


def require_at_least(least: float, **options: float | None) -> None:
    """Check that each option is at least `least`; None passes, NaN does not.

    Raises:
        ValueError: if one is smaller; the message names the first.
    """
    for name, value in options.items():
        if value is not None and not value >= least:
            raise ValueError(f"{name} is {value}, expected at least {least}")


def require_positive(**options: float) -> None:
    """Check that each option is above 0; NaN does not pass.

    Raises:
        ValueError: if one is not; the message names the first.
    """
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}, expected more than 0")
