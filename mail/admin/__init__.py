"""The Django admin of mail, for operators. Django imports this module; each of these registers its models."""

from mail.admin import broadcasts, messages, providers, suppressions

__all__ = ["broadcasts", "messages", "providers", "suppressions"]
