"use strict";
// The 3-D view that the report of a batch and `face3d view` share. The page has a canvas, a button
// "plain" and a note; meshes lie in it as script elements that `mesh_blocks.py` writes.

// ---- meshes: read from the page when one is opened
function bytesOf(id) {
  const text = atob(document.getElementById(id).textContent), bytes = new Uint8Array(text.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes.buffer;
}
function indicesOf(id, wide) {
  const buffer = bytesOf(id);
  return wide ? new Uint32Array(buffer) : new Uint16Array(buffer);
}
async function meshOf(id) {
  const about = JSON.parse(document.getElementById(id).textContent);
  const steps = new Uint16Array(bytesOf(about.vertices));
  const rest = Float32Array.from(steps, (step, index) =>
    ((step / 65535 - 0.5) * about.extent[index % 3] + about.middle[index % 3]) * about.scale);
  const wide = about.vertexCount > 65535;
  const triangles = indicesOf(about.triangles, wide);
  const uv = about.uv ? Float32Array.from(new Uint16Array(bytesOf(about.uv)), (step) => step / 65535) : null;
  let texture = null;
  if (about.texture) {
    texture = new Image();
    texture.src = "data:image/jpeg;base64," + document.getElementById(about.texture).textContent;
    await texture.decode();
  }
  const colors = about.colors ? Float32Array.from(new Uint8Array(bytesOf(about.colors)), (level) => level / 255) : null;
  const keys = about.keys.map((key) => ({
    name: key.name, weight: key.weight, at: indicesOf(key.at, wide),
    moves: Float32Array.from(new Int16Array(bytesOf(key.moves)), (step) => step * key.step * about.scale),
  }));
  const mesh = { name: about.name, colors, rest, triangles, uv, texture, keys, weld: about.weld ? indicesOf(about.weld, wide) : null };
  pose(mesh);
  return mesh;
}
function pose(mesh) {
  const p = mesh.positions = mesh.rest.slice();
  for (const { weight, at, moves } of mesh.keys) {
    if (weight) for (let k = 0; k < at.length; k++) for (let axis = 0; axis < 3; axis++) p[3 * at[k] + axis] += weight * moves[3 * k + axis];
  }
  mesh.normals = normalsOf(p, mesh.triangles, mesh.weld);
}
function normalsOf(p, triangles, weld) {
  const normals = new Float32Array(p.length);
  for (let t = 0; t < triangles.length; t += 3) {
    const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
    const ux = p[b] - p[a], uy = p[b + 1] - p[a + 1], uz = p[b + 2] - p[a + 2];
    const vx = p[c] - p[a], vy = p[c + 1] - p[a + 1], vz = p[c + 2] - p[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    for (let corner = 0; corner < 3; corner++) {
      const at = 3 * (weld ? weld[triangles[t + corner]] : triangles[t + corner]);
      normals[at] += x; normals[at + 1] += y; normals[at + 2] += z;
    }
  }
  if (!weld) return normals;
  return Float32Array.from(normals, (_, index) => normals[3 * weld[Math.floor(index / 3)] + index % 3]);
}
function edgesOf(triangles) {
  const edges = new triangles.constructor(2 * triangles.length);
  for (let t = 0; t < triangles.length; t += 3) edges.set([triangles[t], triangles[t + 1], triangles[t + 1], triangles[t + 2], triangles[t + 2], triangles[t]], 2 * t);
  return edges;
}

// ---- the view: turned about the middle; the light stands at the camera until it is moved
const canvas = document.getElementById("canvas");
let view = null;
const start = () => ({ yaw: 0, pitch: 0, distance: 3.2 });
function program(gl) {
  const sources = [
    [gl.VERTEX_SHADER, "#version 300 es\nin vec3 position, normal, color; in vec2 uv; uniform mat3 turn; uniform vec3 lens; out vec3 n, c; out vec2 st;" +
      "void main() { vec3 p = turn * position; n = turn * normal; st = uv; c = color; float depth = lens.z - p.z;" +
      "gl_Position = vec4(p.xy * lens.xy, (depth - 0.1) / 10.0 * 2.0 * depth - depth, depth); }"],
    [gl.FRAGMENT_SHADER, "#version 300 es\nprecision highp float; in vec3 n, c; in vec2 st; uniform sampler2D picture; uniform bool plain, textured, lines; uniform vec3 light; out vec4 shown;" +
      "void main() { if (lines) { shown = vec4(0.55, 0.9, 0.65, 1.0); return; }" +
      "vec3 facing = normalize(n); if (facing.z < 0.0) facing = -facing; float lit = max(dot(facing, light), 0.0);" +
      "vec3 base = plain ? vec3(0.78) : textured ? texture(picture, st).rgb : c; float shade = light.z > 0.999 && !plain ? 0.7 : 0.25;" +
      "shown = vec4(base * mix(shade, 1.0, lit), 1.0); }"],
  ];
  const made = gl.createProgram();
  for (const [kind, source] of sources) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}
async function show(...ids) {
  const meshes = await Promise.all(ids.map(meshOf));
  document.getElementById("mesh-name").textContent = meshes[0].name;
  if (window.beforeShow) beforeShow();
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) { document.getElementById("note").textContent = "This browser shows no WebGL 2; open the file itself."; return; }
  const made = view ? view.made : program(gl);
  gl.useProgram(made);
  gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true); // v = 0 is the picture's bottom
  for (const mesh of meshes) upload(gl, made, mesh);
  gl.enable(gl.DEPTH_TEST);
  view = { gl, made, meshes, eye: start(), light: [0, 0, 1], lines: false, plain: !meshes.some((mesh) => mesh.texture || mesh.colors) };
  draw();
}
function upload(gl, made, mesh) {
  mesh.vao = gl.createVertexArray();
  gl.bindVertexArray(mesh.vao);
  mesh.buffers = {};
  for (const [name, values, size] of [["position", mesh.positions, 3], ["normal", mesh.normals, 3], ["uv", mesh.uv, 2], ["color", mesh.colors, 3]]) {
    const where = gl.getAttribLocation(made, name);
    if (where < 0 || !values) continue;
    gl.bindBuffer(gl.ARRAY_BUFFER, mesh.buffers[name] = gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(where);
    gl.vertexAttribPointer(where, size, gl.FLOAT, false, 0, 0);
  }
  mesh.faces = gl.createBuffer();
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, mesh.faces);
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.triangles, gl.STATIC_DRAW);
  gl.bindVertexArray(null);
  if (!mesh.texture) return;
  gl.bindTexture(gl.TEXTURE_2D, mesh.picture = gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, mesh.texture);
  gl.generateMipmap(gl.TEXTURE_2D);
}
function setKey(name, weight) {
  const { gl, meshes } = view;
  for (const mesh of meshes) {
    const key = mesh.keys.find((each) => each.name === name);
    if (!key) continue;
    key.weight = weight;
    pose(mesh);
    for (const [buffer, values] of [["position", mesh.positions], ["normal", mesh.normals]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, mesh.buffers[buffer]);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    }
  }
  draw();
}
function draw() {
  if (!view) return;
  const { gl, made, meshes, eye } = view;
  const scale = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.clearColor(0.16, 0.17, 0.19, 1);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  const [cy, sy, cp, sp] = [Math.cos(eye.yaw), Math.sin(eye.yaw), Math.cos(eye.pitch), Math.sin(eye.pitch)];
  const uniform = (name) => gl.getUniformLocation(made, name);
  // columns of Rx(pitch) Ry(yaw)
  gl.uniformMatrix3fv(uniform("turn"), false, [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
  const focal = 2.6, narrow = Math.min(canvas.width, canvas.height);
  gl.uniform3f(uniform("lens"), focal * narrow / canvas.width, focal * narrow / canvas.height, eye.distance);
  gl.uniform1i(uniform("plain"), view.plain);
  gl.uniform1i(uniform("lines"), view.lines);
  gl.uniform3f(uniform("light"), ...view.light);
  document.getElementById("plain").setAttribute("aria-pressed", view.plain);
  let drawn = 0;
  for (const mesh of meshes) {
    gl.uniform1i(uniform("textured"), Boolean(mesh.texture));
    if (mesh.picture) gl.bindTexture(gl.TEXTURE_2D, mesh.picture);
    gl.bindVertexArray(mesh.vao);
    const kind = mesh.triangles instanceof Uint32Array ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT;
    if (view.lines && !mesh.edges) {
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, mesh.edges = gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, edgesOf(mesh.triangles), gl.STATIC_DRAW);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, view.lines ? mesh.edges : mesh.faces);
    gl.drawElements(view.lines ? gl.LINES : gl.TRIANGLES, mesh.triangles.length * (view.lines ? 2 : 1), kind, 0);
    drawn += mesh.triangles.length / 3;
  }
  gl.bindVertexArray(null);
  canvas.dataset.drawn = drawn;
}
let last = null;
canvas.onpointerdown = (event) => { last = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); };
canvas.onpointerup = () => { last = null; };
canvas.onpointermove = (event) => {
  if (!last || !view) return;
  view.eye.yaw += (event.clientX - last[0]) * 0.01;
  view.eye.pitch = Math.max(-1.5, Math.min(1.5, view.eye.pitch + (event.clientY - last[1]) * 0.01));
  last = [event.clientX, event.clientY];
  draw();
};
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (view) view.eye.distance = Math.max(1.2, Math.min(9, view.eye.distance * Math.exp(event.deltaY * 0.001)));
  draw();
}, { passive: false });
canvas.ondblclick = () => { if (view) view.eye = start(); draw(); };
document.getElementById("plain").onclick = () => { if (view && view.meshes.some((mesh) => mesh.texture || mesh.colors)) view.plain = !view.plain; draw(); };
addEventListener("resize", draw);
