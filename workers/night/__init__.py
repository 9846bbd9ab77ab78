"""What happens at night? The stages from the source to the live lists, driven by one worker at a time."""
