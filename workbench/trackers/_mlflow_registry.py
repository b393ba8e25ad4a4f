"""MLflow's model registry: one registered model, a version per artifact, an alias per profile.

``models:/sqlcoder-nano@rtx4090-best`` is then the artifact that the last build recommends for that profile, whatever
its version. A version is made once per build key and place of the weights: building the same again finds it, and only
brings its tags up to date. Nothing recommended means no alias; the model's tag of that name says why.

The source of a version is an MLflow model (``_mlflow_model``) that the run of its artifact has as an output, so the
version's page shows the run's figures.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.artifact import Artifact, open_artifact
from workbench.trackers._mlflow_model import WEIGHTS_NAME, write_model
from workbench.trackers._mlflow_run import RECORDING
from workbench.trackers._mlflow_session import everything
from workbench.trackers.base import TrackedChoice, TrackedModel, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

UPLOADED = "uploaded"


def model_name(name: str) -> str:
    """A name that MLflow takes for a registered and a logged model."""
    return re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-") or "model"


def alias_name(profile: str) -> str:
    """``rtx4090`` -> ``rtx4090-best``; letters, digits, ``_`` and ``-`` alone are allowed."""
    return re.sub(r"[^\w-]+", "-", f"{profile}-best", flags=re.ASCII)


@dataclass
class Registry:
    """One registered model during one recording.

    Attributes:
        client: of the store.
        experiment: id; logged models lie in it.
        recording: tag of what this recording makes.
        log_weights: whether the weights go along.
        name: of the registered model, once it is there and its versions are read.
        versions: those there were, by version number.
        done: the version of each recipe of this build.
    """

    client: MlflowClient
    experiment: str
    recording: str
    log_weights: bool
    name: str = ""
    versions: dict[str, ModelVersion] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)

    def _open(self, name: str) -> None:
        """Make the registered model if it is not there, and read its versions; once."""
        from mlflow.exceptions import MlflowException

        if self.name:
            return
        self.name = model_name(name)
        try:
            self.client.create_registered_model(
                model_name(name),
                tags={"made_by": "sqlcoder-workbench"},
                description=f"Variants of {name} made by sqlcoder-workbench, one version each. The alias "
                "PROFILE-best is the one recommended for a hardware profile; ask it with: "
                f'`mlflow models serve -m "models:/{model_name(name)}@PROFILE-best" --env-manager local`',
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            text = f"name = '{model_name(name)}'"
            found = everything(self.client.search_model_versions, text, max_results=1000)
            self.versions = {str(one.version): one for one in found}

    def register(self, run_id: str, run: TrackedRun) -> str:
        """The id of the logged model behind the run's artifact; its version is made where there is none yet."""
        model = run.model
        assert model is not None and run.weight_reference is not None  # the caller looks
        self._open(model.name)
        place = UPLOADED if self.log_weights else str(run.weight_reference.resolve())
        known = self._known(model, place)
        if known is None:
            logged = self._unregistered(model, place) or self._log_model(run_id, run, place)
            known = self.client.create_model_version(
                model_name(model.name),
                source=f"models:/{logged.model_id}",
                run_id=run_id,
                model_id=logged.model_id,
                tags=self._tags(model, place, ""),
                description=model.description,
            )
        else:
            self._retag(known, self._tags(model, known.tags["weights"], known.tags.get("profiles", "")))
        self.done[model.recipe] = str(known.version)
        return str(known.source).removeprefix("models:/")

    def _known(self, model: TrackedModel, place: str) -> ModelVersion | None:
        """The version of an equal artifact whose weights are where they are now, or went along once."""
        equal = [one for one in self.versions.values() if one.tags.get("build_key") == model.build_key]
        fit = [one for one in equal if one.tags.get("weights") in (place, UPLOADED)]
        return max(fit, key=lambda one: int(one.version), default=None)

    def _unregistered(self, model: TrackedModel, place: str) -> LoggedModel | None:
        """A model that was logged whole before the connection broke off."""
        text = f"tags.build_key = '{model.build_key}'"
        found = everything(self.client.search_logged_models, [self.experiment], filter_string=text, max_results=50)
        return next((one for one in found if one.tags.get("weights") == place and one.status == "READY"), None)

    def _log_model(self, run_id: str, run: TrackedRun, place: str) -> LoggedModel:
        """Upload the model's folder."""
        model = run.model
        assert model is not None and run.weight_reference is not None
        tags = {**self._tags(model, place, ""), **({RECORDING: self.recording} if self.recording else {})}
        name = model_name(f"{model.name}-{model.recipe}")
        logged = self.client.create_logged_model(self.experiment, name, run_id, tags, model_type="text-to-sql")
        artifact = open_artifact(run.weight_reference)
        with tempfile.TemporaryDirectory(prefix="workbench-model-") as scratch:
            folder = Path(scratch)
            write_model(folder, model, artifact, self.log_weights)
            if self.log_weights:
                _gather(artifact, folder / WEIGHTS_NAME)
            self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, "READY")
        return logged

    def _tags(self, model: TrackedModel, place: str, profiles: str) -> dict[str, str]:
        """Tags of a version; ``profiles`` are those it has been built for before."""
        known = [*filter(None, profiles.split(", ")), model.profile]
        every = ", ".join(dict.fromkeys(known))
        return {**model.tags, "build_key": model.build_key, "weights": place, "profiles": every}

    def _retag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if version.tags.get(key) != value:
                self.client.set_model_version_tag(version.name, version.version, key, value)

    def choose(self, choice: TrackedChoice) -> None:
        """Point the profile's alias at the recommended artifact, or take it away and say why."""
        from mlflow.exceptions import MlflowException

        name, alias = model_name(choice.model), alias_name(choice.profile)
        try:
            aliases = self.client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return  # nothing of this model could ever serve
            raise
        version = self.done.get(choice.recipe or "")
        if version:
            self.client.set_registered_model_alias(name, alias, version)
            said = f"{choice.recipe}, version {version}: {choice.reason}"
        else:
            if alias in aliases:
                self.client.delete_registered_model_alias(name, alias)
            said = f"nothing: {choice.reason}"
        self.client.set_registered_model_tag(name, alias, said)


def _gather(artifact: Artifact, folder: Path) -> None:
    """Links to an artifact's files: MLflow follows those to files, and 30 GB are not copied on the way."""
    for entry in artifact.manifest.files:
        link = folder / entry.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((artifact.path / entry.path).resolve())
