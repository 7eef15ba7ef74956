// The panel with the selected job A, what it is compared with (B), and their difference.

const isInput = (choice) => String(choice).startsWith("input:");

// Image, name and path of a choice of A or B.
function chosen(side) {
  const choice = String(state[side]);
  if (isInput(choice)) {
    const { image, name, path } = data.inputs[Number(choice.slice("input:".length))];
    return { src: image, name, path };
  }
  const job = jobs[Number(choice)];
  return { src: job.image, name: nameOf(job), path: job.path, status: job.status };
}

function fillCompare() {
  const inputs = data.inputs.map((input, place) => [`input:${place}`, input.name]).filter((_, place) => data.inputs[place].image);
  const options = jobs.map((job, index) => [String(index), nameOf(job)]);
  fill(byId("compare-a"), options);
  fill(byId("compare-b"), jobs.length > 1 ? [...options, ...inputs] : [...inputs, ...options]);
  if (jobs.length === 1) state.b = byId("compare-b").value;
  for (const side of ["a", "b"]) {
    byId(`compare-${side}`).addEventListener("change", (event) => select(side, event.target.value));
    byId(`compare-image-${side}`).addEventListener("click", () => {
      const { src, name, path } = chosen(side);
      if (src) enlarge({ src, name, path, side });
    });
  }
  byId("compare-canvas").addEventListener("click", () => enlarge({
    src: byId("compare-canvas").toDataURL(), name: `Difference of ${chosen("a").name} and ${chosen("b").name}`,
  }));
  byId("compare-swap").addEventListener("click", () => {
    const { a, b } = state;
    select("a", b);
    select("b", a);
  });
  byId("compare-factor").addEventListener("input", () => {
    byId("compare-factor-shown").textContent = byId("compare-factor").value;
    compare();
  });
  selectionViews.push(compare);
  compare();
}

let latest = 0;

async function compare() {
  const turn = ++latest;
  byId("compare-swap").disabled = isInput(state.b);
  const images = ["a", "b"].map((side) => {
    byId(`compare-${side}`).value = String(state[side]);
    const { src, name, path, status } = chosen(side);
    const image = byId(`compare-image-${side}`).firstElementChild;
    image.hidden = !src;
    image.src = src || "data:,";
    image.alt = name;
    const text = [make("strong", {}, side.toUpperCase()), ` ${name}`];
    if (path) text.push(make("br"), makeLink(path));
    else text.push(` (${status === "done" ? "no image" : status})`);
    byId(`compare-label-${side}`).replaceChildren(...text);
    return image;
  });
  const able = images.every((image) => !image.hidden);
  byId("compare-difference").hidden = !able;
  if (!able) return;
  await Promise.all(images.map((image) => image.decode().catch(() => null))); // replaced meanwhile
  if (turn === latest) drawDifference(...images);
}

function drawDifference(a, b) {
  const [width, height] = [a.naturalWidth, a.naturalHeight];
  const canvas = byId("compare-canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pixels = [a, b].map((image) => {
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  });
  const factor = Number(byId("compare-factor").value);
  const [one, other] = pixels.map((found) => found.data);
  let sum = 0;
  for (let i = 0; i < one.length; i += 4) {
    for (let channel = i; channel < i + 3; channel++) {
      const difference = Math.abs(one[channel] - other[channel]);
      sum += difference;
      one[channel] = Math.min(255, difference * factor);
    }
    one[i + 3] = 255;
  }
  context.putImageData(pixels[0], 0, 0);
  const notes = [`|A − B| × ${factor}; mean ${shortNumber(sum / (width * height * 3))} of 255`];
  if (b.naturalWidth !== width || b.naturalHeight !== height) notes.push("B is scaled to the size of A");
  if (!data.lossless) notes.push("images in this page are compressed: differences of a few steps of 255 mean nothing");
  byId("compare-note").textContent = notes.join("; ");
}
