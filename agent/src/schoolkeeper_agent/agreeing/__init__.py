"""The acceptable-use agreement on a device: asked for, shown, agreed to or put off."""
