// A request that tells how many bytes of its body have gone. fetch cannot tell that.
import { logIn, logins, needsLogin } from "./login.js";
import { t } from "./strings.js";

/**
 * @returns {Promise<{status: number, problem: object, header: (name: string) => string|null}>}
 * @throws {Error} no answer came
 * @throws {DOMException} AbortError
 */
export async function exchange(method, href, options) {
  const since = logins();
  const answer = await once(method, href, options);
  const login = needsLogin(answer.status, answer.header("WWW-Authenticate")) && (await logIn(since));
  return login ? once(method, href, options) : answer;
}

function once(method, href, { headers = {}, body, progress = () => {}, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, href);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    const abort = () => request.abort();
    signal.addEventListener("abort", abort);
    const end = (run) => () => {
      signal.removeEventListener("abort", abort);
      run();
    };
    request.upload.onprogress = (e) => progress(e.loaded);
    request.onload = end(() => {
      let problem = {};
      try {
        problem = JSON.parse(request.responseText) ?? {};
      } catch {
        /* it has no body */
      }
      resolve({ status: request.status, problem, header: (name) => request.getResponseHeader(name) });
    });
    request.onerror = end(() => reject(new Error(t("offline"))));
    request.onabort = end(() => reject(new DOMException(t("upload.cancelled"), "AbortError")));
    if (signal.aborted) reject(new DOMException(t("upload.cancelled"), "AbortError"));
    else request.send(body);
  });
}
