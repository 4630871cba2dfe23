import NetmapTestSupport
import Testing

/// Control requests of C programs, of every type.
@Suite("Requests of C programs")
struct ClientRequestTests {
  static let rules = [
    Rule(
      "port-info", "a port's rings and memory can be asked for, also if it is not open",
      .works(.requests, "NETMAP_REQ_PORT_INFO_GET"),
      .works(.commands, "NIOCCTRL")),
    Rule(
      "pools-info", "a region's pools can be asked for; an empty name is ENXIO",
      .works(.requests, "NETMAP_REQ_POOLS_INFO_GET")),
    Rule(
      "persistent", "a persistent port is made once, put on a switch, found, taken off and removed",
      .works(
        .requests, "NETMAP_REQ_VALE_NEWIF", "NETMAP_REQ_VALE_DELIF", "NETMAP_REQ_VALE_ATTACH",
        "NETMAP_REQ_VALE_DETACH", "NETMAP_REQ_VALE_LIST")),
    Rule(
      "list", "ports of switches are listed one by one, up to ENOENT",
      .works(.requests, "NETMAP_REQ_VALE_LIST")),
    Rule(
      "headers", "a port's virtio-net header has 0, 10 or 12 bytes",
      .works(.requests, "NETMAP_REQ_PORT_HDR_SET", "NETMAP_REQ_PORT_HDR_GET")),
    Rule(
      "polling",
      "polling is refused for ports that are no interfaces, and EINVAL for unknown modes",
      .works(.requests, "NETMAP_REQ_VALE_POLLING_ENABLE", "NETMAP_REQ_VALE_POLLING_DISABLE")),
    Rule(
      "unknown", "unknown types are EINVAL", .works(.commands, "NIOCCTRL")),
    Rule(
      "options-refused",
      "an option of another request has the status EOPNOTSUPP, and the port can be bound without it",
      .works(.options, "unknown options")),
    Rule(
      "offsets", "packets of a port with offsets begin where the option says",
      .works(.options, "NETMAP_REQ_OPT_OFFSETS")),
    Rule(
      "versions",
      "versions 14 and 15 are served, and others, reserved bits and missing bodies are EINVAL",
      .works(.commands, "NIOCCTRL")),
    Rule(
      "legacy", "legacy requests bind, ask, attach, detach, list, create, remove, and set headers",
      .works(.commands, "NIOCREGIF", "NIOCGINFO"),
      .works(
        .legacy, "nr_cmd 0", "NETMAP_BDG_NEWIF", "NETMAP_BDG_ATTACH", "NETMAP_BDG_LIST",
        "NETMAP_BDG_DETACH",
        "NETMAP_BDG_DELIF", "NETMAP_BDG_VNET_HDR", "NETMAP_VNET_HDR_GET")),
    Rule(
      "legacy-refused",
      "legacy commands that netmap has given up, unknown ones and old versions are refused",
      .works(
        .legacy, "NETMAP_BDG_REGOPS", "NETMAP_PT_HOST_CREATE", "NETMAP_PT_HOST_DELETE",
        "NETMAP_BDG_POLLING_ON",
        "NETMAP_BDG_POLLING_OFF")),
    Rule(
      "configuration",
      "a message to a switch is EINVAL, as it is with the kernel module where the switch's module takes none",
      .differs(
        .commands, "NIOCCONFIG",
        how: "no module takes messages: EINVAL; vale-ctl gives a module its configuration")),
  ]

  @Test(
    "A C program's requests are answered as with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("requests", rule, loading)
  }
}
