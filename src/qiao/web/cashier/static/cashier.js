"use strict";
(() => {
  const main = document.querySelector("main[data-address]");
  if (!main) return;
  const { address, version } = main.dataset;

  const left = document.getElementById("left");
  if (left) {
    const end = Date.now() + Number(left.dataset.seconds) * 1000;
    const two = (number) => String(number).padStart(2, "0");
    const tick = () => {
      const seconds = Math.max(0, Math.round((end - Date.now()) / 1000));
      const hours = Math.floor(seconds / 3600);
      const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
      left.textContent = hours ? `${hours}:${rest}` : rest;
    };
    setInterval(tick, 1000);
  }

  const bridge = document.getElementById("bridge");
  if (bridge) {
    const parameters = JSON.parse(bridge.dataset.parameters);
    const pay = () => {
      if (bridge.dataset.channel.startsWith("wechat")) {
        const call = () => WeixinJSBridge.invoke("getBrandWCPayRequest", parameters, reload);
        if (window.WeixinJSBridge) call();
        else document.addEventListener("WeixinJSBridgeReady", call, { once: true });
      } else {
        const call = () => AlipayJSBridge.call("tradePay", parameters, reload);
        if (window.AlipayJSBridge) call();
        else document.addEventListener("AlipayJSBridgeReady", call, { once: true });
      }
    };
    bridge.addEventListener("click", pay);
    pay();
  }

  const page = () => location.pathname + (location.search.includes("choose") ? location.search : "");
  function reload() { location.replace(page()); }
  const look = (now) => { if (now !== version) location.replace(location.pathname); };

  if (!("live" in main.dataset)) return;
  let wait = 2000;
  const poll = async () => {
    try {
      const answer = await fetch(`${address}/state`, { cache: "no-store" });
      look((await answer.json()).version);
    } catch { /* the network comes back */ }
    wait = Math.min(wait * 1.3, 15000);
    setTimeout(poll, wait);
  };
  if (window.EventSource) {
    const events = new EventSource(`${address}/events`);
    let failures = 0;
    events.addEventListener("version", (event) => { failures = 0; look(event.data); });
    events.addEventListener("error", () => {
      failures += 1;
      if (failures > 3) { events.close(); poll(); }
    });
  } else poll();
})();
