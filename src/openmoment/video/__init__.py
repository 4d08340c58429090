"""Read video by time: what a file is, its frames, single pictures, clips cut from it.

Times are seconds on the container's clock, where zero is what a player shows as 0:00. Frames are
found by their presentation times, never by counting, so that a variable rate, a late first frame
or damage in the middle shift nothing.
"""

from openmoment.video.clips import cut
from openmoment.video.frames import Frame, read_frames, read_pictures
from openmoment.video.info import VideoInfo, frame_times, probe

__all__ = ["Frame", "VideoInfo", "cut", "frame_times", "probe", "read_frames", "read_pictures"]
