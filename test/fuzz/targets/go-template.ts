import { ChatTemplate } from "../../../src/tokenizer/chat-template.js";
import { type FuzzTarget, fuzzTarget } from "../target.js";

const MESSAGES = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "2 + 2 <|im_end|>" },
  { role: "assistant", content: "4" },
  { role: "user", content: "你好" },
];

/** A Go template of ollama, parsed and rendered. */
export const fuzz: FuzzTarget = fuzzTarget((data) => {
  const template = new ChatTemplate(data.toString("utf8"), "ollama layer");
  const { text, fromTemplate } = template.render(MESSAGES);
  if (text.length !== fromTemplate.length) throw new Error(`${text.length} characters, ${fromTemplate.length} marks.`);
});
