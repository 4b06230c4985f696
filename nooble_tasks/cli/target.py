"""From `services.embedding` on the command line to the service class that it means."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from nooble_tasks.errors import ConfigurationError, did_you_mean
from nooble_tasks.service import BaseService


def use_current_folder() -> None:
    """Make modules of the current folder importable, as `python -m` does."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def service_class(target: str) -> type[BaseService]:
    """The class that `package.module:Class` or `package.module` names. Raises ConfigurationError."""
    name, _, class_name = target.partition(":")
    module = _module(name, target)
    if class_name:
        return _named(module, class_name)
    found = _services_in(module)
    if not found and hasattr(module, "__path__") and find_spec(f"{name}.service"):
        found = _services_in(import_module(f"{name}.service"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigurationError(
            f"{name} has no subclass of BaseService; name it as {name}.<module>:<Class>, or export it there"
        )
    choices = ", ".join(f"{name}:{cls.__name__}" for cls in found)
    raise ConfigurationError(f"{name} has several services; say which one: {choices}")


def _module(name: str, target: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"{name} needs the module {error.name!r}, which is not installed here ({sys.executable})"
            ) from error
        raise ConfigurationError(
            f"there is no module {error.name!r} for {target!r}; run nooble in the project's folder "
            f"(now {Path.cwd()}), or correct the name"
        ) from None
    except ValueError:
        raise ConfigurationError(f"{target!r} is not package.module or package.module:Class") from None


def _named(module: ModuleType, name: str) -> type[BaseService]:
    found = getattr(module, name, None)
    if found is None:
        known = [cls.__name__ for cls in _services_in(module)]
        raise ConfigurationError(f"{module.__name__} has no {name!r}{did_you_mean(name, known)}")
    if not (inspect.isclass(found) and issubclass(found, BaseService)):
        raise ConfigurationError(f"{module.__name__}:{name} is no subclass of BaseService")
    return found


def _services_in(module: ModuleType) -> list[type[BaseService]]:
    """Service classes that the module defines or exports from below itself."""
    own = (module.__name__, f"{module.__name__}.")
    return [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, BaseService)
        and (member.__module__ == own[0] or member.__module__.startswith(own[1]))
        and not member.__name__.startswith("_")
    ]
