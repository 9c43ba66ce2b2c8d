"""Pictures of what distillation does: features on their way through the denoiser, detections, label maps."""
