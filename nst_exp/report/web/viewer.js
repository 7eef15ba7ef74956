// An image in the whole window, with its file's path; the arrow keys show the next job.

let viewed = {};

function enlarge(image) {
  viewed = image;
  showEnlarged();
  if (!byId("viewer").open) byId("viewer").showModal();
}

// A cell of the sheet follows the selection; a snapshot is that of its step.
function enlargeJob(element) {
  const { src, name, path } = chosen("a");
  if (element.dataset.path) enlarge({ src: element.firstElementChild.src, name: element.firstElementChild.alt, path: element.dataset.path });
  else if (src) enlarge({ src, name, path, side: "a" });
}

function showEnlarged() {
  byId("viewer-image").src = viewed.src;
  byId("viewer-image").alt = viewed.name;
  byId("viewer-name").textContent = viewed.name;
  byId("viewer-path").replaceChildren(...(viewed.path ? [makeLink(viewed.path)] : []));
  for (const id of ["viewer-previous", "viewer-next"]) byId(id).hidden = !viewed.side || jobs.length === 1;
}

function fillViewer() {
  const viewer = byId("viewer");
  byId("viewer-close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if ([viewer, byId("viewer-image")].includes(event.target)) viewer.close(); });
  for (const [id, by] of [["viewer-previous", -1], ["viewer-next", 1]]) {
    byId(id).addEventListener("click", () => move(by, viewed.side));
  }
  selectionViews.push(() => {
    if (!viewer.open || !viewed.side) return;
    const { src, name, path } = chosen(viewed.side);
    if (src) enlarge({ src, name, path, side: viewed.side });
  });
}
