"""The policy as files that a directory service or a device management carries to devices without our agent."""
