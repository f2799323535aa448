"""Transform batches of images, with the parameters of each sample given.

Images are uint8 [B, H, W, C], every parameter is a tensor with one entry per sample, and nothing here is random:
`random_transforms.py` draws the parameters. Wherever a sample's result could depend on the rest of its batch (by the
order of a floating-point sum), the sum is over integers.
"""

import torch
from torch import Tensor
from torch.nn import functional


def flip_and_shift(pixels: Tensor, flips: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Return images, some of them mirrored left to right, in a moved window; beyond the border they are reflected.

    Args:
        pixels: uint8 [B, H, W, C].
        flips: bool [B].
        across: int64 [B], movement of the window to the right in pixels, magnitude below W.
        down: int64 [B], movement of the window downwards in pixels, magnitude below H.
    """
    batch, height, width, channels = pixels.shape
    rows = _reflect(torch.arange(height, device=pixels.device) + down[:, None], height)
    columns = _reflect(torch.arange(width, device=pixels.device) + across[:, None], width)
    columns = torch.where(flips[:, None], width - 1 - columns, columns)
    rows = rows + height * torch.arange(batch, device=pixels.device)[:, None]
    positions = (rows * width)[:, :, None] + columns[:, None, :]
    return pixels.reshape(-1, channels).index_select(0, positions.view(-1)).view(pixels.shape)


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Return positions inside 0 .. size - 1: those outside are mirrored at the outermost pixel."""
    return size - 1 - (size - 1 - positions.abs()).abs()


def resample(
    pixels: Tensor, *, flips: Tensor, across: Tensor, down: Tensor, boxes: Tensor, rotations: Tensor
) -> Tensor:
    """Return images that are rotated, cropped to a box and enlarged, mirrored and shifted, in one bilinear resampling.

    The order is rotate, crop, flip, shift; beyond the border the image is reflected as in `flip_and_shift`.

    Args:
        pixels: uint8 [B, H, W, C].
        flips: bool [B].
        across: int64 [B], movement of the window to the right, in pixels of the result.
        down: int64 [B], movement of the window downwards, in pixels of the result.
        boxes: int64 [B, 4], left, top, width and height of the crop in pixels.
        rotations: float32 [B, 2], cosine and sine of the angle, counter-clockwise.
    """
    _, height, width, _ = pixels.shape
    left, top, box_width, box_height = boxes[:, :, None].unbind(1)
    cosine, sine = rotations[:, :, None, None].unbind(1)
    center_x, center_y = (width - 1) / 2, (height - 1) / 2

    x = torch.arange(width, device=pixels.device) + across[:, None]
    x = torch.where(flips[:, None], width - 1 - x, x)
    x = (x + 0.5) * (box_width / width) + left - 0.5 - center_x
    y = torch.arange(height, device=pixels.device) + down[:, None]
    y = (y + 0.5) * (box_height / height) + top - 0.5 - center_y
    x, y = x[:, None, :], y[:, :, None]
    # The grid runs from -1 to 1 between the centers of the outermost pixels; in an image one pixel wide they coincide.
    grid_x = (cosine * x - sine * y) / max(center_x, 0.5)
    grid_y = (sine * x + cosine * y) / max(center_y, 0.5)

    planes = pixels.permute(0, 3, 1, 2).float().contiguous()
    grid = torch.stack([grid_x, grid_y], dim=-1)
    sampled = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    return sampled.round_().to(torch.uint8).permute(0, 2, 3, 1)


def adjust_colors(pixels: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Return images with scaled contrast (about the mean brightness), then brightness, then saturation (about gray).

    Each step is clamped to 0 .. 255, the result is rounded once. Gray images have no saturation.

    Args:
        pixels: uint8 [B, H, W, C], C = 1 or 3.
        brightness: float32 [B], a factor; 1 changes nothing.
        contrast: float32 [B], a factor.
        saturation: float32 [B], a factor.
    """
    contrast, brightness, saturation = (factor[:, None, None, None] for factor in (contrast, brightness, saturation))
    count = pixels.shape[1] * pixels.shape[2]
    mean = (_luma(pixels.sum((1, 2), dtype=torch.int64)).float() / (1000 * count))[:, None, None, None]
    # In place: allocating memory for each step would cost more than the arithmetic.
    values = pixels.float().sub_(mean).mul_(contrast).add_(mean).clamp_(0, 255)
    values.mul_(brightness).clamp_(0, 255)
    if pixels.shape[-1] == 3:
        gray = (_luma(values) / 1000)[..., None]
        values.sub_(gray).mul_(saturation).add_(gray).clamp_(0, 255)
    return values.round_().to(torch.uint8)


def _luma(colors: Tensor) -> Tensor:
    """Return the brightness (ITU-R BT.601) of colors or gray levels [..., C], in thousandths: [...]."""
    if colors.shape[-1] == 1:
        return 1000 * colors[..., 0]
    red, green, blue = colors.unbind(-1)
    return 299 * red + 587 * green + 114 * blue


def erase(pixels: Tensor, boxes: Tensor) -> Tensor:
    """Return images with a box (int64 [B, 4]: left, top, width, height; may be empty) painted in their mean color."""
    count = pixels.shape[1] * pixels.shape[2]
    mean = (pixels.sum((1, 2), dtype=torch.int64) + count // 2) // count
    return torch.where(_inside(boxes, pixels), mean.to(torch.uint8)[:, None, None, :], pixels)


def blend(pixels: Tensor, others: Tensor, fraction: Tensor) -> Tensor:
    """Return `fraction` (float32 [B], 0 .. 1) of each image plus the rest of the other, rounded."""
    fraction = fraction[:, None, None, None]
    return (pixels * fraction).add_(others * (1 - fraction)).round_().to(torch.uint8)


def paste(pixels: Tensor, others: Tensor, boxes: Tensor) -> Tensor:
    """Return images with a box (int64 [B, 4]: left, top, width, height) replaced by that of the other image."""
    return torch.where(_inside(boxes, pixels), others, pixels)


def _inside(boxes: Tensor, pixels: Tensor) -> Tensor:
    """Return for each pixel whether it is in its image's box: bool [B, H, W, 1]."""
    _, height, width, _ = pixels.shape
    left, top, box_width, box_height = boxes[:, :, None].unbind(1)
    columns = torch.arange(width, device=pixels.device)
    rows = torch.arange(height, device=pixels.device)
    across = (columns >= left) & (columns < left + box_width)
    down = (rows >= top) & (rows < top + box_height)
    return (down[:, :, None] & across[:, None, :])[..., None]
