// The official openai client generates and edits; a client that sends what AUTOMATIC1111's clients send does too.
// usage: node openai_client.mjs PROGRAM MODEL      (npm install first)
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import OpenAI, { toFile } from "openai";
import { startServer } from "../start_server.mjs";

const [program, model] = process.argv.slice(2);
if (!program || !model) {
  console.error("usage: node openai_client.mjs PROGRAM MODEL");
  process.exit(2);
}
const pngStart = "89504e470d0a1a0a";
/// The packed pixels: the record beside them names the whole request.
const pixelsOf = (base64) => {
  const png = Buffer.from(base64, "base64");
  return png.subarray(png.indexOf("IDAT"));
};
const sizeOf = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)];

const server = await startServer(program, model);
const said = [];
try {
  const client = new OpenAI({ baseURL: `${server.base}/v1`, apiKey: "none-is-asked-for", maxRetries: 0 });

  const models = await client.models.list();
  const name = models.data[0].id;
  assert.equal((await client.models.retrieve(name)).id, name);
  said.push(`models.list: ${models.data.map((each) => each.id).join(", ")}`);

  const made = await client.images.generate({ model: name, prompt: "an emoji", n: 2, response_format: "b64_json", steps: 16, seed: 3 });
  assert.equal(made.data.length, 2);
  for (const each of made.data) {
    const png = Buffer.from(each.b64_json, "base64");
    assert.equal(png.subarray(0, 8).toString("hex"), pngStart);
    assert.deepEqual(sizeOf(png), [64, 64]);
  }
  assert.ok(!pixelsOf(made.data[0].b64_json).equals(pixelsOf(made.data[1].b64_json)));
  const again = await client.images.generate({ model: name, prompt: "an emoji", n: 1, steps: 16, seed: 3 });
  assert.ok(pixelsOf(again.data[0].b64_json).equals(pixelsOf(made.data[0].b64_json)), "image 0 of a seed is always the same");
  said.push(`images.generate: 2 pictures of 64x64, warnings: ${JSON.stringify(made.warnings)}`);

  const linked = await client.images.generate({ prompt: "an emoji", response_format: "url", steps: 8 });
  const fetched = Buffer.from(await (await fetch(linked.data[0].url)).arrayBuffer());
  assert.equal(fetched.subarray(0, 8).toString("hex"), pngStart);

  const picture = await readFile(path.join(model, "examples", "emoji_u1f9d0.png"));
  const mask = await readFile(new URL("masks/white.png", import.meta.url));
  const holes = await readFile(new URL("masks/transparent.png", import.meta.url));
  const edits = [];
  for (const [convention, bytes] of [["white", mask], ["transparent", holes]]) {
    const edited = await client.images.edit({
      model: name,
      image: await toFile(picture, "image.png", { type: "image/png" }),
      mask: await toFile(bytes, "mask.png", { type: "image/png" }),
      prompt: "another mouth",
      response_format: "b64_json",
      seed: 5,
      steps: 16,
    });
    edits.push(edited.data[0].b64_json);
    said.push(`images.edit, ${convention} = editable: ${sizeOf(Buffer.from(edited.data[0].b64_json, "base64")).join("x")}`);
  }
  assert.ok(pixelsOf(edits[0]).equals(pixelsOf(edits[1])), "both conventions name the same pixels");

  // Streams: partial images, then the picture, which is that of the same request at once.
  const seen = [];
  const stream = await client.images.generate({ model: name, prompt: "an emoji", steps: 16, seed: 3, stream: true, partial_images: 2 });
  for await (const event of stream) seen.push(event);
  assert.deepEqual(seen.map((each) => each.type.replace("image_generation.", "")), ["partial_image", "partial_image", "completed"]);
  assert.deepEqual(seen.slice(0, 2).map((each) => each.partial_image_index), [0, 1]);
  for (const each of seen) assert.deepEqual(sizeOf(Buffer.from(each.b64_json, "base64")), [64, 64]);
  assert.ok(pixelsOf(seen[2].b64_json).equals(pixelsOf(made.data[0].b64_json)));
  const edit = await client.images.edit({
    model: name, image: await toFile(picture, "image.png", { type: "image/png" }), mask: await toFile(mask, "mask.png", { type: "image/png" }),
    prompt: "another mouth", seed: 5, steps: 16, stream: true, partial_images: 1,
  });
  const edited = [];
  for await (const event of edit) edited.push(event.type);
  assert.deepEqual(edited, ["image_edit.partial_image", "image_edit.completed"]);
  said.push(`streams: ${seen.length} and ${edited.length} events`);

  const near = await client.images.createVariation({ image: await toFile(picture, "image.png", { type: "image/png" }), model: name, n: 2, size: "256x256", response_format: "b64_json" });
  assert.deepEqual(near.data.map((each) => sizeOf(Buffer.from(each.b64_json, "base64"))), [[256, 256], [256, 256]]);
  const large = await client.images.generate({ model: name, prompt: "an emoji", size: "512x768", steps: 16 });
  assert.deepEqual(sizeOf(Buffer.from(large.data[0].b64_json, "base64")), [512, 768]);
  said.push(`images.createVariation; ${large.notes[0]}`);

  await assert.rejects(client.images.generate({ model: "dall-e-3", prompt: "x" }), (error) => {
    assert.equal(error.status, 404);
    assert.match(error.message, /expected one of/);
    return true;
  });
  await assert.rejects(client.images.generate({ prompt: "x", n: 99 }), { status: 400 });
  said.push("refusals arrive as the client's own errors");

  // What webui clients send.
  const webui = async (method, route, body) => {
    const response = await fetch(`${server.base}/sdapi/v1/${route}`, {
      method,
      headers: { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    assert.equal(response.status, 200, `${route}: ${response.status}`);
    return response.json();
  };
  const samplers = await webui("GET", "samplers");
  assert.ok(samplers.some((each) => each.aliases.includes("Euler a")));
  assert.equal((await webui("GET", "sd-models"))[0].model_name, name);
  assert.equal((await webui("GET", "options")).sd_model_checkpoint, name);
  const text = webui("POST", "txt2img", {
    prompt: "", negative_prompt: "", styles: [], seed: 4, subseed: -1, subseed_strength: 0, batch_size: 2, n_iter: 1, steps: 32,
    cfg_scale: 7, width: 64, height: 64, restore_faces: false, tiling: false, enable_hr: false, denoising_strength: 0.7,
    sampler_name: "Euler a", send_images: true, save_images: false, alwayson_scripts: {}, override_settings: {},
  });
  const progress = await webui("GET", "progress");
  assert.ok(progress.progress >= 0 && progress.progress <= 1);
  const drawn = await text;
  assert.equal(drawn.images.length, 2);
  assert.equal(JSON.parse(drawn.info).seed, 4);
  const repainted = await webui("POST", "img2img", {
    init_images: [picture.toString("base64")], mask: mask.toString("base64"), denoising_strength: 1, seed: 5, steps: 16,
    sampler_name: "Euler a", width: 64, height: 64, mask_blur: 4, inpainting_fill: 1, inpaint_full_res: false, resize_mode: 0,
  });
  assert.deepEqual(sizeOf(Buffer.from(repainted.images[0], "base64")), [64, 64]);
  said.push("txt2img, img2img with a mask, progress, samplers, sd-models, options");
  for (const line of said) console.log(line);
} finally {
  await server.stop();
}
