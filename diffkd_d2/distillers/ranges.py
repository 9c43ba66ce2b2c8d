"""Ranges of the options that distillers share."""


def require_at_least(least: float, **options: float | None) -> None:
    """Check options by name; None passes, NaN does not.

    Raises:
        ValueError: naming the first that is smaller.
    """
    for name, value in options.items():
        if value is not None and not value >= least:
            raise ValueError(f"{name} is {value}, expected at least {least}")


def require_positive(**options: float) -> None:
    """Check options by name; NaN does not pass.

    Raises:
        ValueError: naming the first that is not above 0.
    """
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}, expected more than 0")
