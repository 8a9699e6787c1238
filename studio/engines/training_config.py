"""All settings of a LLaMA-Factory training, and what they mean to the launchers and the planner."""

from __future__ import annotations

from studio.core.spec import Training
from studio.engines.engine import resolve_path
from studio.engines.launchers import Ask, Precision, Way
from studio.engines.training_fields import MethodFields
from studio.engines.training_run_fields import RunFields


class LlamaFactoryTrainConfig(RunFields, MethodFields):
    """Settings of a training; names are those of LLaMA-Factory's YAML."""

    @property
    def precision(self) -> Precision:
        """What the weights and states are computed in."""
        if self.pure_bf16:
            return "pure_bf16"
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"

    @property
    def needs_reference(self) -> bool:
        """True when a second, frozen model is loaded: named, or of a preference run in full."""
        preference = self.stage == "kto" or (
            self.stage == "dpo" and self.pref_loss not in ("orpo", "simpo")
        )
        return preference and (bool(self.ref_model) or self.finetuning_type != "lora")

    def ask(self, root: str) -> Ask:
        """Return what has to be known to start it."""
        return Ask(
            launcher=self.launcher,
            num_processes=self.num_processes,
            strategy=self.strategy,
            offload=self.offload,
            offload_nvme_path=resolve_path(self.offload_nvme_path, root),
            own_config=resolve_path(self.deepspeed, root),
            precision=self.precision,
            use_cpu=self.use_cpu,
            finetuning_type=self.finetuning_type,
            quantization_bit=self.quantization_bit,
            pissa=self.pissa_init,
            optimizer=self.optim,
        )

    def training(self, way: Way) -> Training:
        """Return what is trained, in the planner's words."""
        return Training(
            model=self.model_name_or_path,
            stage=self.stage,
            finetuning_type=self.finetuning_type,
            lora_rank=self.lora_rank,
            lora_target=self.lora_target,
            use_dora=self.use_dora,
            additional_target=self.additional_target,
            freeze_trainable_layers=self.freeze_trainable_layers,
            quantization_bit=self.quantization_bit,
            double_quantization=self.double_quantization,
            precision=self.precision,
            optimizer=self.optim,
            num_processes=way.num_processes,
            strategy=self.strategy,
            offload=self.offload,
            offload_nvme=bool(self.offload_nvme_path),
            own_config=bool(self.deepspeed),
            per_device_train_batch_size=self.per_device_train_batch_size,
            gradient_accumulation_steps=self.gradient_accumulation_steps,
            cutoff_len=self.cutoff_len,
            gradient_checkpointing=not self.disable_gradient_checkpointing,
            flash_attn=self.flash_attn != "disabled",
            liger_kernel=self.enable_liger_kernel,
            packing=self.stage == "pt" if self.packing is None else self.packing,
            needs_reference=self.needs_reference,
            freeze_vision_tower=self.freeze_vision_tower,
            freeze_multi_modal_projector=self.freeze_multi_modal_projector,
            image_max_pixels=self.image_max_pixels,
            num_train_epochs=self.num_train_epochs,
            max_steps=self.max_steps,
            save_steps=self.save_steps,
            save_total_limit=self.save_total_limit,
            save_only_model=self.save_only_model,
            on_cpu=way.on_cpu,
        )
