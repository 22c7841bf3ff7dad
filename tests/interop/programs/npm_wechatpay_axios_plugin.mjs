// Drives wechatpay-axios-plugin (npm). Its client is a chain of path segments, here given as text.
export default (require) => {
  const { Wechatpay, Rsa, Aes, Formatter } = require("wechatpay-axios-plugin");
  let client;
  return {
    openClient({ settings }) {
      client = new Wechatpay(settings);
    },
    async request({ method, path, data, params, responseType }) {
      const resource = path.split("/").reduce((chain, segment) => chain[segment], client);
      const config = { params, responseType, validateStatus: undefined };
      try {
        const answer = await (method === "get" ? resource.get(config) : resource.post(data, config));
        const body = Buffer.isBuffer(answer.data) ? answer.data.toString("base64") : answer.data;
        return { status: answer.status, body };
      } catch (error) {
        if (error.response?.status >= 400) {
          return { status: error.response.status, body: error.response.data };
        }
        throw error;
      }
    },
    // Of a notification: whether it verifies, and what it holds.
    open({ headers, body, publicKey, key }) {
      const signed = Formatter.response(
        headers["wechatpay-timestamp"],
        headers["wechatpay-nonce"],
        body,
      );
      if (!Rsa.verify(signed, headers["wechatpay-signature"], publicKey)) return null;
      const { ciphertext, nonce, associated_data: associated } = JSON.parse(body).resource;
      return JSON.parse(Aes.AesGcm.decrypt(ciphertext, key, nonce, associated));
    },
    // Whether our channel's request carries its merchant's signature.
    verifyRequest({ method, target, timestamp, nonce, body, signature, publicKey }) {
      const signed = Formatter.request(method, target, timestamp, nonce, body);
      return Rsa.verify(signed, signature, publicKey);
    },
    sign: ({ lines, privateKey }) => Rsa.sign(Formatter.joinedByLineFeed(...lines), privateKey),
    bill: ({ content }) => Formatter.castCsvBill(Buffer.from(content, "base64")),
  };
};
