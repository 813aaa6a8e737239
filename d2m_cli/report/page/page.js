"use strict";
(() => {
  const CLOSE = 0.07; // seconds within which a beat counts as met
  const DRIFT = 0.05; // seconds that a take may run apart from the picture before it is set again
  const BONES = [
    [0, 1], [0, 2], [1, 3], [2, 4], [5, 6], [5, 7], [7, 9], [6, 8], [8, 10],
    [5, 11], [6, 12], [11, 12], [11, 13], [13, 15], [12, 14], [14, 16],
  ];
  const COLOURS = ["#3ddc74", "#ffb02e", "#5aa9ff", "#f26fb0", "#b68cff", "#5fe0e0"];
  const UNSEEN = 65535;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const players = new Map();

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  class Player {
    constructor(article) {
      this.article = article;
      this.seconds = Number(article.dataset.seconds);
      this.video = article.querySelector("video");
      this.timeline = article.querySelector(".timeline");
      this.lines = article.querySelector(".lines");
      this.cursor = article.querySelector(".cursor");
      this.skeleton = article.querySelector(".skeleton");
      this.overlay = article.querySelector(".overlay");
      this.button = article.querySelector(".play");
      this.trouble = article.querySelector(".trouble");
      this.choices = [...article.querySelectorAll(".takes input, input.sound")];
      this.told = article.querySelector(".told[id]");
      this.toldOfChosen = this.told && this.told.textContent;
      this.sounds = this.choices.map((choice) => choice.dataset.src || null);
      this.audios = new Map();
      this.chosen = 0;
      this.data = null;
      this.start = 0;
      this.shown = 0;
      this.resumeAt = 0;
      this.frame = 0;
      this.listen();
    }

    // What tells the time: the picture, or the music alone where the picture can't be shown.
    get clock() {
      return this.broken || !this.video ? this.audio() : this.video;
    }

    get time() {
      return this.clock && this.clock.readyState > 0 ? this.clock.currentTime : this.resumeAt;
    }

    get playing() {
      return Boolean(this.clock) && !this.clock.paused && !this.clock.ended;
    }

    audio(number = this.chosen) {
      const source = this.sounds[number];
      if (!source) return null;
      if (!this.audios.has(number)) {
        const audio = new Audio();
        audio.preload = "auto";
        audio.src = source;
        audio.addEventListener("error", () => this.say("This music can't be played: its file is gone, or is of a kind that this browser does not know."));
        this.audios.set(number, audio);
      }
      return this.audios.get(number);
    }

    listen() {
      const { video, timeline } = this;
      this.button.addEventListener("click", () => this.toggle());
      if (video) {
        video.addEventListener("play", () => this.began());
        video.addEventListener("playing", () => this.follow());
        for (const name of ["pause", "ended", "waiting"]) video.addEventListener(name, () => this.rest());
        video.addEventListener("seeking", () => this.follow());
        video.addEventListener("seeked", () => this.settle());
        video.addEventListener("timeupdate", () => this.playing || this.settle());
        video.addEventListener("ratechange", () => this.follow());
        video.addEventListener("volumechange", () => this.follow());
        video.addEventListener("loadedmetadata", () => {
          if (video.videoWidth) this.article.querySelector(".screen").style.aspectRatio = this.shape();
          if (this.resumeAt) video.currentTime = this.resumeAt;
          this.follow();
          this.settle();
        });
        video.addEventListener("error", () => this.fail());
      } else {
        this.fail();
      }
      this.overlay.addEventListener("change", () => this.pose());
      for (const choice of this.choices) {
        choice.addEventListener("change", () => choice.checked && this.choose(Number(choice.value)));
      }
      if (!timeline) return;
      const seekTo = (event) => {
        const box = timeline.getBoundingClientRect();
        const part = (event.clientX - box.left - this.left) / this.width;
        this.seek(this.start + clamp(part, 0, 1) * this.span);
      };
      timeline.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        timeline.setPointerCapture(event.pointerId);
        seekTo(event);
      });
      timeline.addEventListener("pointermove", (event) => {
        if (timeline.hasPointerCapture(event.pointerId)) seekTo(event);
      });
      timeline.addEventListener("keydown", (event) => this.key(event));
      new ResizeObserver(() => this.data && this.draw()).observe(timeline);
    }

    shape() {
      // Upright pictures would fill more than a screen.
      const ratio = clamp(this.video.videoWidth / this.video.videoHeight, 1, 2.4);
      return String(ratio);
    }

    key(event) {
      const step = { ArrowLeft: -0.5, ArrowDown: -0.5, ArrowRight: 0.5, ArrowUp: 0.5, PageDown: -5, PageUp: 5 }[event.key];
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (step !== undefined) this.seek(this.time + step);
      else if (event.key === "Home") this.seek(0);
      else if (event.key === "End") this.seek(this.seconds);
      else if (event.key === " " || event.key === "Enter") this.toggle();
      else return;
      event.preventDefault();
    }

    // A video that is in view gets its source, and its drawing is fetched; one that is gone gives its decoder back.
    enter() {
      this.visible = true;
      // The browser's own controls of hundreds of videos would take long to lay out.
      if (this.video) this.video.controls = true;
      if (this.video && !this.video.hasAttribute("src")) {
        this.video.preload = "metadata";
        this.video.src = this.video.dataset.src;
      }
      if (this.article.dataset.drawing && !this.asked) {
        this.asked = true;
        const script = document.createElement("script");
        script.src = this.article.dataset.drawing;
        script.dataset.of = this.article.id;
        script.onerror = () => this.say("The drawing for this video is missing: “d2m report” makes it again.");
        script.onload = () => script.remove();
        document.head.append(script);
      }
    }

    leave() {
      this.visible = false;
      if (this.playing || this.broken || !this.video || !this.video.hasAttribute("src")) return;
      this.resumeAt = this.time;
      this.video.removeAttribute("src");
      this.video.preload = "none";
      this.video.load();
      for (const audio of this.audios.values()) {
        audio.removeAttribute("src");
        audio.load();
      }
      this.audios.clear();
    }

    take(data) {
      if (!data) return;
      this.data = data;
      const { skeletons } = data;
      for (const { spectrogram } of [data, ...Object.values(data.takes || {})]) {
        if (spectrogram) spectrogram.levels = bytes(spectrogram.levels);
      }
      if (skeletons) skeletons.points = new Uint16Array(bytes(skeletons.points).buffer);
      this.overlay.disabled = !skeletons;
      this.draw();
      this.settle();
    }

    fail() {
      if (this.broken) return;
      const at = this.resumeAt;
      this.broken = true;
      this.sounds = this.sounds.map((source, number) => source || this.choices[number].dataset.alone || null);
      const audio = this.audio();
      this.say(
        (this.video
          ? "The picture can't be shown here: the video was moved, or is of a kind that this browser does not know."
          : "No video was written with this music.") +
          (audio ? " The music plays alone." : "")
      );
      if (this.video) this.video.hidden = true;
      if (!audio) {
        this.button.disabled = true;
        return;
      }
      audio.currentTime = at;
      this.watch(audio);
    }

    watch(audio) {
      if (audio.watched) return;
      audio.watched = true;
      audio.addEventListener("play", () => this.began());
      for (const name of ["pause", "ended"]) audio.addEventListener(name, () => this.rest());
      audio.addEventListener("seeked", () => this.settle());
    }

    say(text) {
      this.trouble.textContent = text;
      this.trouble.hidden = false;
    }

    toggle() {
      if (!this.clock) return;
      this.enter();
      if (this.playing) this.clock.pause();
      else this.clock.play().catch(() => {});
    }

    began() {
      for (const other of players.values()) if (other !== this && other.playing) other.clock.pause();
      this.button.textContent = "Pause";
      this.button.setAttribute("aria-label", this.button.getAttribute("aria-label").replace(/^Play/, "Pause"));
      for (let number = 0; number < this.sounds.length; number++) this.audio(number);
      this.follow();
      if (!this.frame) this.frame = requestAnimationFrame(() => this.tick());
    }

    rest() {
      for (const audio of this.audios.values()) if (audio !== this.clock) audio.pause();
      if (this.playing) return;
      this.button.textContent = "Play";
      this.button.setAttribute("aria-label", this.button.getAttribute("aria-label").replace(/^Pause/, "Play"));
      this.settle();
    }

    tick() {
      this.frame = 0;
      this.move();
      this.keepStep();
      if (this.playing) this.frame = requestAnimationFrame(() => this.tick());
    }

    // The chosen music runs with the picture; where it is the picture's own, there is nothing to do.
    follow() {
      const audio = this.audio();
      if (this.clock === audio) return;
      // The picture's own sound is silent under a take, and as loud as before when it is chosen again.
      if (audio && !this.video.muted) this.video.muted = this.silenced = true;
      else if (!audio && this.silenced) this.video.muted = this.silenced = false;
      for (const other of this.audios.values()) if (other !== audio) other.pause();
      if (!audio) return;
      audio.playbackRate = this.video.playbackRate;
      audio.volume = this.video.volume;
      if (Math.abs(audio.currentTime - this.video.currentTime) > DRIFT) audio.currentTime = this.video.currentTime;
      if (this.playing && !this.video.seeking) audio.play().catch(() => {});
      else audio.pause();
    }

    keepStep() {
      const audio = this.audio();
      const now = performance.now();
      if (!audio || audio === this.clock || audio.paused || audio.seeking || now < (this.setAt || 0) + 500) return;
      if (Math.abs(audio.currentTime - this.video.currentTime) > DRIFT) {
        audio.currentTime = this.video.currentTime;
        this.setAt = now;
      }
    }

    choose(number) {
      const at = this.time;
      const was = this.playing;
      const before = this.clock;
      this.chosen = number;
      if (this.broken && before !== this.clock) {
        if (before) before.pause();
        this.watch(this.clock);
        this.clock.currentTime = at;
        if (was) this.clock.play().catch(() => {});
      }
      this.follow();
      this.tell();
      if (this.data) this.draw();
    }

    // The strip belongs to what is heard.
    get music() {
      const take = this.choices[this.chosen]?.dataset.take;
      return (take && this.data.takes && this.data.takes[take]) || this.data;
    }

    tell() {
      if (!this.told) return;
      const { take, told } = this.choices[this.chosen].dataset;
      const undrawn = "This take is not drawn; what you see is the music chosen. “d2m report --overwrite” draws it.";
      this.told.textContent = this.chosen === 0 ? this.toldOfChosen : take ? told : undrawn;
    }

    seek(time) {
      this.enter();
      const to = clamp(time, 0, this.seconds);
      this.resumeAt = to;
      if (this.clock && this.clock.readyState > 0) this.clock.currentTime = to;
      this.settle();
    }

    // The cursor, the strip and the skeleton at the time that it is.
    move() {
      const time = this.time;
      if (this.data && this.span) {
        const page = Math.max(0, Math.min(Math.floor(time / this.span) * this.span, this.seconds - this.span));
        if (page !== this.start) {
          this.start = page;
          this.draw();
        }
        const x = this.left + (clamp(time - this.start, 0, this.span) / this.span) * this.width;
        this.cursor.style.transform = `translateX(${x.toFixed(2)}px)`;
      }
      this.pose(time);
    }

    settle() {
      this.move();
      if (!this.timeline) return;
      this.timeline.setAttribute("aria-valuenow", this.time.toFixed(2));
      this.timeline.setAttribute("aria-valuetext", `${this.time.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
    }

    pose(time = this.time) {
      const wanted = this.overlay.checked && this.data && this.data.skeletons;
      this.skeleton.hidden = !wanted;
      if (!wanted || !this.visible) return;
      const { rate, people, points, size } = this.data.skeletons;
      const box = this.skeleton.getBoundingClientRect();
      const scale = Math.min(devicePixelRatio || 1, 2);
      const [width, height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
      if (this.skeleton.width !== width || this.skeleton.height !== height) {
        this.skeleton.width = width;
        this.skeleton.height = height;
      }
      const context = this.skeleton.getContext("2d");
      context.clearRect(0, 0, width, height);
      const fit = Math.min(width / size[0], height / size[1]);
      const [w, h] = [size[0] * fit, size[1] * fit];
      const [x0, y0] = [(width - w) / 2, (height - h) / 2];
      const moments = points.length / people / 34;
      const at = clamp(time * rate, 0, moments - 1);
      const [first, part] = [Math.floor(at), at % 1];
      for (let person = 0; person < people; person++) {
        const joints = [];
        for (let joint = 0; joint < 17; joint++) {
          const a = ((person * moments + first) * 17 + joint) * 2;
          const b = first + 1 < moments ? a + 34 : a;
          if (points[a] === UNSEEN || points[b] === UNSEEN) {
            joints.push(null);
            continue;
          }
          const x = points[a] + (points[b] - points[a]) * part;
          const y = points[a + 1] + (points[b + 1] - points[a + 1]) * part;
          joints.push([x0 + (x / (UNSEEN - 1)) * w, y0 + (y / (UNSEEN - 1)) * h]);
        }
        // Dark below bright: seen on any background.
        for (const [colour, thick] of [["rgba(0,0,0,.65)", 5.5], [COLOURS[person % COLOURS.length], 3]]) {
          context.strokeStyle = context.fillStyle = colour;
          context.lineWidth = thick * scale;
          context.lineCap = "round";
          context.beginPath();
          for (const [from, to] of BONES) {
            if (!joints[from] || !joints[to]) continue;
            context.moveTo(...joints[from]);
            context.lineTo(...joints[to]);
          }
          context.stroke();
        }
      }
    }

    draw() {
      const box = this.timeline.getBoundingClientRect();
      if (!box.width || !this.visible) return;
      const style = getComputedStyle(document.documentElement);
      const colour = (name) => style.getPropertyValue(name).trim();
      const scale = Math.min(devicePixelRatio || 1, 2);
      this.lines.width = Math.round(box.width * scale);
      this.lines.height = Math.round(box.height * scale);
      const wide = box.width >= 640;
      this.left = wide ? 112 : 8;
      this.width = box.width - this.left - 8;
      // Stretches of equal length, each as long as can be told apart on this screen.
      this.span = this.seconds / Math.ceil(this.seconds / Math.max(4, this.width / 56));
      this.start = Math.max(0, Math.min(Math.floor(this.time / this.span) * this.span, this.seconds - this.span));
      const context = this.lines.getContext("2d");
      context.setTransform(scale, 0, 0, scale, 0, 0);
      const { data, music, start, span, left, width } = this;
      const x = (time) => left + ((time - start) / span) * width;
      const inside = (time) => time >= start - 0.5 && time <= start + span + 0.5;
      const rows = [
        ["Dance accents", data.accents, "--dance", 18, 26],
        ["Dance beats", data.danceBeats, "--dance", 60, 26],
        ["Music beats", music.musicBeats, "--music", 126, 26],
        ["Music onsets", music.onsets, "--music", 168, 20],
      ];
      context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
      context.save();
      context.beginPath();
      context.rect(left - 1, 0, width + 2, box.height);
      context.clip();
      this.drawSpectrogram(context, left, 206, width, 44, style);
      this.drawTime(context, x, box.height, colour);
      // Ties go from the foot of the dance's ticks to the head of the music's.
      const from = data.tiedToBeats ? 86 : 44;
      for (const [ofDance, ofMusic] of music.ties) {
        if (!inside(ofDance)) continue;
        const close = Math.abs(ofDance - ofMusic) <= CLOSE;
        context.strokeStyle = colour(close ? "--ink" : "--tie");
        context.lineWidth = close ? 1.4 : 1.2;
        context.setLineDash(close ? [] : [3, 3]);
        context.beginPath();
        context.moveTo(x(ofDance), from);
        context.lineTo(x(ofMusic), 126);
        context.stroke();
      }
      context.setLineDash([]);
      for (const [, times, name, top, height] of rows) {
        context.strokeStyle = colour("--line");
        context.lineWidth = 1;
        context.beginPath();
        context.moveTo(left, top + height / 2);
        context.lineTo(left + width, top + height / 2);
        context.stroke();
        context.fillStyle = colour(name);
        for (const time of times) if (inside(time)) context.fillRect(x(time) - 1.25, top, 2.5, height);
      }
      context.restore();
      context.textBaseline = "middle";
      if (!data.danceBeats.length) {
        context.fillStyle = colour("--quiet");
        const text = wide ? "none: the dance has no steady beat" : "none: no steady beat";
        const at = left + 6;
        context.clearRect(at - 4, 60, context.measureText(text).width + 8, 26);
        context.fillText(text, at, 73);
      }
      for (const [label, , name, top, height] of [...rows, ["Spectrogram", [], "--quiet", 206, 44]]) {
        context.fillStyle = colour(name);
        if (wide) context.fillText(label, 0, top + height / 2);
        else if (label !== "Spectrogram") {
          context.clearRect(left - 1, top - 15, context.measureText(label).width + 4, 14);
          context.fillText(label, left, top - 8);
        }
      }
      this.shift();
    }

    shift() {
      const x = this.left + (clamp(this.time - this.start, 0, this.span) / this.span) * this.width;
      this.cursor.style.transform = `translateX(${x.toFixed(2)}px)`;
    }

    drawTime(context, x, height, colour) {
      const { start, span } = this;
      const top = height - 20;
      context.strokeStyle = context.fillStyle = colour("--quiet");
      context.lineWidth = 1;
      context.textBaseline = "top";
      context.textAlign = "center";
      context.beginPath();
      for (let tenth = Math.ceil(start * 10 - 1e-6); tenth / 10 <= start + span + 1e-6; tenth++) {
        const length = tenth % 10 === 0 ? 6 : tenth % 5 === 0 ? 4 : 2.5;
        context.moveTo(x(tenth / 10), top);
        context.lineTo(x(tenth / 10), top + length);
        if (tenth % 10 === 0) {
          const at = clamp(x(tenth / 10), this.left + 8, this.left + this.width - 8);
          context.fillText(String(tenth / 10), at, top + 7);
        }
      }
      context.stroke();
      context.textAlign = "start";
    }

    drawSpectrogram(context, left, top, width, height, style) {
      const { spectrogram } = this.music;
      if (!spectrogram) return;
      const { rate, bands, levels } = spectrogram;
      const first = Math.floor(this.start * rate);
      const last = Math.min(Math.ceil((this.start + this.span) * rate) + 1, levels.length / bands);
      if (last <= first) return;
      const parts = ["--low", "--mid", "--high"].map((name) => style.getPropertyValue(name).split(",").map(Number));
      const shades = Array.from({ length: 256 }, (_, level) => {
        const at = level / 127.5;
        const [a, b, part] = at < 1 ? [parts[0], parts[1], at] : [parts[1], parts[2], at - 1];
        return a.map((value, index) => value + (b[index] - value) * part);
      });
      const canvas = document.createElement("canvas");
      canvas.width = last - first;
      canvas.height = bands;
      const inner = canvas.getContext("2d");
      const image = inner.createImageData(last - first, bands);
      for (let column = first; column < last; column++) {
        for (let band = 0; band < bands; band++) {
          const shade = shades[levels[column * bands + band]];
          const pixel = ((bands - 1 - band) * (last - first) + column - first) * 4;
          image.data[pixel] = shade[0];
          image.data[pixel + 1] = shade[1];
          image.data[pixel + 2] = shade[2];
          image.data[pixel + 3] = 255;
        }
      }
      inner.putImageData(image, 0, 0);
      // The middle of a column is the moment that it stands for.
      const perColumn = width / (this.span * rate);
      context.drawImage(canvas, left + (first - 0.5 - this.start * rate) * perColumn, top, (last - first) * perColumn, height);
    }
  }

  // Made when it is first seen: hundreds at once would keep the page from opening.
  function playerOf(article) {
    if (!players.has(article.id)) players.set(article.id, new Player(article));
    return players.get(article.id);
  }
  window.d2mReport = (data) => players.get(document.currentScript.dataset.of).take(data);

  // What is only passed by in scrolling is not loaded.
  const waiting = new Map();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(waiting.get(target.id));
      if (isIntersecting) waiting.set(target.id, setTimeout(() => playerOf(target).enter(), 120));
      else if (players.has(target.id)) players.get(target.id).leave();
    }
  });
  for (const article of document.querySelectorAll("article.result")) watcher.observe(article);
  dark.addEventListener("change", () => players.forEach((player) => player.data && player.draw()));

  // The table.
  const body = document.querySelector("#table tbody");
  const rows = [...body.rows];
  const find = document.querySelector("#find");
  const state = document.querySelector("#state");
  const count = document.querySelector("#count");
  const texts = new Map();

  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
      const fits = (!state.value || row.dataset.state === state.value) && words.every((word) => texts.get(row).includes(word));
      row.hidden = !fits;
      shown += fits;
      if (row.dataset.of) document.getElementById(row.dataset.of).hidden = !fits;
    }
    for (const group of document.querySelectorAll(".group")) group.hidden = !group.querySelector("article:not([hidden])");
    count.textContent = shown === rows.length ? `${shown} shown` : `${shown} of ${rows.length} shown`;
  }

  function sort(button) {
    const heading = button.closest("th");
    const column = heading.cellIndex;
    const numbers = button.dataset.kind === "number";
    const before = heading.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numbers;
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const order = new Intl.Collator(undefined, { numeric: true });
    const value = (row) => {
      // A row without music has one cell for all of these: it has no such value.
      const cell = row.cells.length > column || column === 0 ? row.cells[column] : null;
      if (!cell || (column && row.dataset.state !== "done")) return null;
      if (!numbers) return cell.textContent.trim() === "–" ? null : cell.textContent.trim();
      return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    };
    const keyed = rows.map((row, index) => ({ row, index, key: value(row) }));
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
      const least = numbers ? a.key - b.key : order.compare(a.key, b.key);
      return (down ? -least : least) || a.index - b.index;
    });
    body.append(...keyed.map((one) => one.row));
  }

  find.addEventListener("input", filter);
  state.addEventListener("change", filter);
  document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("#table thead button")) button.addEventListener("click", () => sort(button));
})();
