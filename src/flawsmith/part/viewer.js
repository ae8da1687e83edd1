// One part, drawn with WebGL 2. State is `camera`, `visible` and `picked`; `draw` shows it; everything else changes it.
const scene = JSON.parse(document.getElementById("scene").textContent);
const canvas = document.querySelector("canvas");
const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
const told = document.getElementById("told");
if (!gl) {
  const fault = document.getElementById("fault");
  fault.hidden = false;
  fault.textContent = "This browser has no WebGL 2. Open the page in a current Chrome, Edge, Firefox or Safari.";
  throw new Error("no WebGL 2");
}

// ---- small matrices, column-major
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const times = (a, b) => {
  const out = new Float32Array(16);
  for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++)
    for (let k = 0; k < 4; k++) out[4 * c + r] += a[4 * k + r] * b[4 * c + k];
  return out;
};

// ---- programs
const SURFACE = [`#version 300 es
layout(location=0) in vec3 position; layout(location=1) in vec3 normal;
uniform mat4 clip; uniform mat3 view; out vec3 seen;
void main() { seen = view * normal; gl_Position = clip * vec4(position, 1.0); }`,
`#version 300 es
precision highp float;
in vec3 seen; uniform vec3 color; uniform float lit; uniform int mark; out vec4 pixel;
void main() {
  if (mark > 0) { pixel = vec4(float(mark & 255) / 255.0, float((mark >> 8) & 255) / 255.0, float(mark >> 16) / 255.0, 1.0); return; }
  vec3 n = normalize(seen); if (!gl_FrontFacing) n = -n;
  vec3 key = normalize(vec3(-0.45, 0.70, 0.55)), fill = normalize(vec3(0.75, 0.15, 0.45)), low = normalize(vec3(0.2, -0.75, 0.5));
  float light = 0.29 + 0.08 * n.y + 0.52 * max(dot(n, key), 0.0) + 0.24 * max(dot(n, fill), 0.0) + 0.20 * max(dot(n, low), 0.0);
  float gloss = 0.16 * pow(max(dot(n, normalize(key + vec3(0, 0, 1))), 0.0), 40.0);
  pixel = vec4(mix(color * light * 1.22 + gloss, vec3(0.18, 0.52, 0.95), lit), 1.0);
}`];
const LINES = [`#version 300 es
layout(location=0) in vec3 position; uniform mat4 clip;
void main() { gl_Position = clip * vec4(position, 1.0); gl_Position.z -= 0.0006 * gl_Position.w; }`,
`#version 300 es
precision highp float; uniform vec4 ink; out vec4 pixel; void main() { pixel = ink; }`];
function program([vertex, fragment]) {
  const made = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}
const surface = program(SURFACE), lines = program(LINES);
const at = (of, name) => gl.getUniformLocation(of, name);

// ---- the part on the graphics card
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
function buffer(target, data) {
  gl.bindBuffer(target, gl.createBuffer());
  gl.bufferData(target, data, gl.STATIC_DRAW);
}
const meshes = scene.components.map((item) => {
  const faces = gl.createVertexArray(), edges = gl.createVertexArray();
  gl.bindVertexArray(faces);
  buffer(gl.ARRAY_BUFFER, bytes(item.positions));
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
  buffer(gl.ARRAY_BUFFER, bytes(item.normals));
  gl.enableVertexAttribArray(1);
  gl.vertexAttribPointer(1, 3, gl.BYTE, true, 4, 0);
  buffer(gl.ELEMENT_ARRAY_BUFFER, bytes(item.index));
  gl.bindVertexArray(edges);
  const drawn = bytes(item.lines);
  buffer(gl.ARRAY_BUFFER, drawn);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
  gl.bindVertexArray(null);
  return { faces, edges, corners: 3 * item.triangles, ends: drawn.length / 12 };
});

// ---- state
const visible = scene.components.map(() => true);
let picked = -1, edgesShown = true;
const camera = {};
const VIEWS = { Iso: [-60, 28], Front: [-90, 0], Right: [0, 0], Back: [90, 0], Left: [180, 0], Top: [-90, 90], Bottom: [-90, -90] };
function look(name) {
  const [yaw, tilt] = VIEWS[name];
  Object.assign(camera, { yaw: yaw * Math.PI / 180, tilt: tilt * Math.PI / 180 });
  fit();
}
function fit() {
  camera.center = [...scene.center];
  camera.half = 1.12 * scene.radius / Math.min(1, canvas.clientWidth / Math.max(canvas.clientHeight, 1));
  draw();
}
function axes() {
  const { yaw, tilt } = camera;
  const eye = [Math.cos(yaw) * Math.cos(tilt), Math.sin(yaw) * Math.cos(tilt), Math.sin(tilt)];
  const right = [-Math.sin(yaw), Math.cos(yaw), 0];
  return { eye, right, up: cross(eye, right) };
}

// ---- drawing
let asked = false;
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; paint(); });
}
function matrices() {
  const { eye, right, up } = axes(), c = camera.center, deep = 4 * scene.radius + camera.half;
  const dot = (v) => -(v[0] * c[0] + v[1] * c[1] + v[2] * c[2]);
  const view = new Float32Array([right[0], up[0], eye[0], 0, right[1], up[1], eye[1], 0, right[2], up[2], eye[2], 0, dot(right), dot(up), dot(eye), 1]);
  const wide = camera.half * canvas.width / canvas.height;
  const flat = new Float32Array([1 / wide, 0, 0, 0, 0, 1 / camera.half, 0, 0, 0, 0, -1 / deep, 0, 0, 0, 0, 1]);
  return { clip: times(flat, view), view: new Float32Array([view[0], view[1], view[2], view[4], view[5], view[6], view[8], view[9], view[10]]) };
}
function surfaces(marked) {
  const { clip, view } = matrices();
  gl.useProgram(surface);
  gl.uniformMatrix4fv(at(surface, "clip"), false, clip);
  gl.uniformMatrix3fv(at(surface, "view"), false, view);
  meshes.forEach((mesh, i) => {
    if (!visible[i]) return;
    gl.uniform3fv(at(surface, "color"), scene.components[i].color);
    gl.uniform1f(at(surface, "lit"), i === picked ? 0.45 : 0);
    gl.uniform1i(at(surface, "mark"), marked ? i + 1 : 0);
    gl.bindVertexArray(mesh.faces);
    gl.drawElements(gl.TRIANGLES, mesh.corners, gl.UNSIGNED_INT, 0);
  });
  return clip;
}
function clear(color) {
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.clearColor(...color, 1);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  gl.enable(gl.DEPTH_TEST);
}
const dark = matchMedia("(prefers-color-scheme: dark)");
function paint() {
  clear(dark.matches ? [0.106, 0.122, 0.141] : [0.965, 0.969, 0.976]);
  const clip = surfaces(false);
  if (!edgesShown) return;
  gl.useProgram(lines);
  gl.uniformMatrix4fv(at(lines, "clip"), false, clip);
  gl.uniform4f(at(lines, "ink"), 0.1, 0.12, 0.14, 1);
  meshes.forEach((mesh, i) => {
    if (!visible[i] || !mesh.ends) return;
    gl.bindVertexArray(mesh.edges);
    gl.drawArrays(gl.LINES, 0, mesh.ends);
  });
}
function pick(x, y) {
  clear([0, 0, 0]);
  gl.disable(gl.DITHER);
  surfaces(true);
  const ratio = canvas.width / canvas.clientWidth, pixel = new Uint8Array(4);
  gl.readPixels(Math.round(x * ratio), Math.round(canvas.height - 1 - y * ratio), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
  select(pixel[0] + 256 * pixel[1] + 65536 * pixel[2] - 1);
}

// ---- moving: one pointer turns, with shift or the other buttons it shifts; two pointers shift and zoom
const pointers = new Map();
let moved = 0;
function turn(dx, dy) {
  camera.yaw -= dx * 0.008;
  camera.tilt = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, camera.tilt + dy * 0.008));
}
function shift(dx, dy) {
  const { right, up } = axes(), mm = 2 * camera.half / canvas.clientHeight;
  for (let k = 0; k < 3; k++) camera.center[k] += (-dx * right[k] + dy * up[k]) * mm;
}
function zoom(factor, x, y) {
  const next = Math.max(scene.radius * 1e-3, Math.min(scene.radius * 20, camera.half * factor));
  const kept = 1 - next / camera.half;
  shift(-(x - canvas.clientWidth / 2) * kept, -(y - canvas.clientHeight / 2) * kept);
  camera.half = next;
}
const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, place(event));
  moved = pointers.size > 1 ? Infinity : 0;
});
canvas.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const now = place(event), dx = now[0] - last[0], dy = now[1] - last[1];
  moved += Math.abs(dx) + Math.abs(dy);
  if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const was = Math.hypot(last[0] - other[0], last[1] - other[1]), is = Math.hypot(now[0] - other[0], now[1] - other[1]);
    shift(dx / 2, dy / 2);
    if (is > 1) zoom(was / is, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else if (event.shiftKey || event.buttons & 6) shift(dx, dy);
  else turn(dx, dy);
  pointers.set(event.pointerId, now);
  draw();
});
const released = (event) => {
  if (pointers.delete(event.pointerId) && event.type === "pointerup" && moved < 5 && event.button === 0) pick(...place(event));
};
canvas.addEventListener("pointerup", released);
canvas.addEventListener("pointercancel", released);
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY)) * 0.0022), ...place(event));
  draw();
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-30, 0], ArrowRight: [30, 0], ArrowUp: [0, -30], ArrowDown: [0, 30] }[event.key];
  if (step) event.shiftKey ? shift(...step) : turn(...step);
  else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 0.8 : 1.25, canvas.clientWidth / 2, canvas.clientHeight / 2);
  else if (event.key === "Escape") select(-1);
  else return;
  event.preventDefault();
  draw();
});

// ---- the tree
const rows = [];
function branch(tree, above) {
  const list = document.createElement("ul");
  const nodes = [];
  for (const [name, child] of Object.entries(tree)) {
    const leaf = typeof child === "number", row = document.createElement("li"), line = document.createElement("div");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    const label = document.createElement("label"), text = Object.assign(document.createElement("span"), { textContent: name, title: name });
    const node = { box, row, above, below: [], leaf: leaf ? child : -1 };
    label.append(box);
    if (leaf) {
      const dot = Object.assign(document.createElement("span"), { className: "dot" });
      dot.style.background = `rgb(${scene.components[child].color.map((v) => Math.round(255 * v)).join(" ")})`;
      label.append(dot);
      rows[child] = node;
      line.addEventListener("mouseenter", () => { picked = child; draw(); });
      line.addEventListener("mouseleave", () => { picked = chosen; draw(); });
    }
    label.append(text);
    if (leaf) line.append(Object.assign(document.createElement("span"), { className: "none" }), label);
    else {
      const fold = Object.assign(document.createElement("button"), { type: "button", textContent: "▾" });
      fold.setAttribute("aria-label", `fold ${name}`);
      line.append(fold, label);
      const inner = branch(child, node);
      node.below = inner.nodes;
      row.append(line, inner.list);
      fold.addEventListener("click", () => { inner.list.hidden = !inner.list.hidden; fold.textContent = inner.list.hidden ? "▸" : "▾"; });
    }
    if (leaf) row.append(line);
    box.addEventListener("change", () => { set(node, box.checked); settle(node.above); draw(); });
    nodes.push(node);
    list.append(row);
  }
  return { list, nodes };
}
function set(node, shown) {
  Object.assign(node.box, { checked: shown, indeterminate: false });
  if (node.leaf >= 0) visible[node.leaf] = shown;
  node.below.forEach((child) => set(child, shown));
}
function settle(node) {
  if (!node) return;
  const all = node.below.every((c) => c.box.checked && !c.box.indeterminate), some = node.below.some((c) => c.box.checked || c.box.indeterminate);
  Object.assign(node.box, { checked: all, indeterminate: some && !all });
  settle(node.above);
}
let chosen = -1;
function select(index) {
  rows[chosen]?.row.classList.remove("picked");
  chosen = picked = index;
  rows[index]?.row.classList.add("picked");
  rows[index]?.row.scrollIntoView({ block: "nearest" });
  const item = scene.components[index];
  told.textContent = item ? `${item.name}: ${item.extent_mm.join(" × ")} mm, ${item.triangles.toLocaleString()} triangles` : HELP;
  draw();
}

// ---- the page
const HELP = "drag: turn · shift-drag or right button: move · wheel or pinch: zoom · click: name";
document.querySelector("h1").textContent = scene.name;
document.querySelector("header p").textContent = `${scene.source} · ${scene.extent_mm.join(" × ")} mm`;
document.getElementById("tree").append(branch(scene.tree, null).list);
const nav = document.querySelector("nav");
for (const name of Object.keys(VIEWS)) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
  button.addEventListener("click", () => look(name));
  nav.append(button);
}
const toggle = Object.assign(document.createElement("button"), { type: "button", textContent: "Edges" });
toggle.setAttribute("aria-pressed", "true");
toggle.addEventListener("click", () => { edgesShown = !edgesShown; toggle.setAttribute("aria-pressed", String(edgesShown)); draw(); });
nav.append(toggle);
dark.addEventListener("change", draw);
let fitted = false;
new ResizeObserver(() => {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  fitted ? paint() : (look("Iso"), fitted = true);
}).observe(canvas);
select(-1);
