"""The step `drive`: works one attempt of a wave with one Indexed Job."""
