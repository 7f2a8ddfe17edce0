/**
 * A stream of text cut into lines.
 *
 * @module
 */

/** Turns chunks of text into lines without their ends; a last line without an end counts. */
export class TextLineStream extends TransformStream<string, string> {
  /** Makes the transformation. */
  constructor() {
    let rest = "";
    super({
      transform(chunk, controller) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) controller.enqueue(line.replace(/\r$/, ""));
      },
      flush(controller) {
        if (rest !== "") controller.enqueue(rest);
      },
    });
  }
}
