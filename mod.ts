/** placeholder */
export { serve } from "./src/serve.ts";
