"use strict";

for (const section of document.querySelectorAll(".video")) {
  const video = section.querySelector("video");
  const timeline = section.querySelector(".timeline");
  const length = Number(timeline.dataset.length);
  const rows = [...section.querySelectorAll("tr[data-moment]")];
  const moments = [];
  for (const bar of section.querySelectorAll(".bar")) {
    const row = rows[bar.dataset.moment];
    const [start, end] = [Number(bar.dataset.start), Number(bar.dataset.end)];
    moments[bar.dataset.moment] = { bar, row, start, end, isNow: false };
  }
  let stopAt = Infinity;

  const show = (time) => {
    timeline.style.setProperty("--at", time / length);
    for (const moment of moments) {
      const isNow = moment.start <= time && time < moment.end;
      if (isNow === moment.isNow) continue;
      moment.isNow = isNow;
      for (const part of [moment.bar, moment.row]) {
        if (isNow) part.setAttribute("aria-current", "true");
        else part.removeAttribute("aria-current");
      }
    }
  };

  const seek = (time) => {
    stopAt = Infinity;
    if (video) video.currentTime = time;
    show(time);
  };

  const reveal = (row) => {
    const box = row.closest(".moments");
    const hidden = row.offsetTop - box.scrollTop;
    if (hidden < 0 || hidden + row.offsetHeight > box.clientHeight) {
      box.scrollTop = row.offsetTop - box.clientHeight / 2;
    }
  };

  const play = (moment) => {
    seek(moment.start);
    reveal(moment.row);
    if (!video) return;
    stopAt = moment.end;
    video.play().catch(() => {});
  };

  const follow = () => {
    if (video.currentTime >= stopAt) {
      stopAt = Infinity;
      video.pause();
    }
    show(video.currentTime);
    if (!video.paused) requestAnimationFrame(follow);
  };

  section.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-moment]");
    const track = event.target.closest(".track");
    if (chosen) play(moments[chosen.dataset.moment]);
    else if (track) seek(((event.clientX - track.getBoundingClientRect().left) / track.clientWidth) * length);
  });

  section.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const buttons = [...(event.target.closest(".track, tbody")?.querySelectorAll("button") ?? [])];
    const next = buttons[buttons.indexOf(event.target) + step];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  if (video) {
    video.addEventListener("play", follow);
    video.addEventListener("timeupdate", () => show(video.currentTime));
    video.addEventListener("error", () => {
      const line = document.createElement("p");
      line.className = "unplayable";
      line.textContent = "This browser cannot play the video. The times hold all the same.";
      video.replaceWith(line);
    });
  }
}
