"""The step `finish`: verdict, clean-up and webhook of an ended task."""
