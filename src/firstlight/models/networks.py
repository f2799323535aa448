"""Our own small networks, plain `nn.Module`s that turn float pictures into logits."""
