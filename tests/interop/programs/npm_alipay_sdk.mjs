// Drives alipay-sdk (npm), Alipay's own SDK for Node.
export default (require) => {
  const { AlipaySdk } = require("alipay-sdk");
  let client;
  return {
    openClient({ settings }) {
      client = new AlipaySdk({ timeout: 60_000, ...settings }); // the machine may be busy
    },
    exec: ({ method, params, validateSign }) => client.exec(method, params, { validateSign }),
    page: ({ method, how, params }) => client.pageExecute(method, how, params),
    app: ({ method, params }) => client.sdkExecute(method, params),
    verify: ({ parameters }) => client.checkNotifySignV2(parameters),
    serials: () => ({
      app_cert_sn: client.config.appCertSn,
      alipay_root_cert_sn: client.config.alipayRootCertSn,
    }),
    rootSerial: ({ settings }) => new AlipaySdk(settings).config.alipayRootCertSn,
    decrypt: ({ text }) => client.aesDecrypt(text),
  };
};
