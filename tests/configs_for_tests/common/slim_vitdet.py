"""ViTDet for images of about 128 pixels: a plain ViT of four blocks, trained from scratch."""

from ....configs.common.models.slim_faster_rcnn import slim_faster_rcnn
from ....configs.common.models.vitdet import vitdet_b


def slim_vitdet(embed_dim, channels, num_classes=8, size=128):
    """Config of Mask R-CNN with the heads of the other slim detectors; `size` is the largest side of an image."""
    model = slim_faster_rcnn(18, 32, channels, num_classes=num_classes, masks=True)
    model.backbone = vitdet_b().backbone
    model.backbone.update(out_channels=channels, square_pad=size)
    model.backbone.net.update(img_size=size, embed_dim=embed_dim, depth=4, num_heads=4)
    model.backbone.net.update(window_size=4, window_block_indexes=[0, 2])
    return model
