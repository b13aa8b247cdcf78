"""A newer agent: staged for the officers, handed out to devices, halted when devices go back."""
