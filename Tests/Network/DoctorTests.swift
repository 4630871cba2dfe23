import Netmap
import NetmapTestSupport
import Testing

/// `netmap doctor` and the ports that are opened afterwards.
@Suite struct DoctorTests {
  private func examine(_ arguments: String...) throws -> (status: Int32, output: String) {
    let result = try TestProgram([TestProgram.built("netmap"), "doctor"] + arguments).finish()
    return (result.status, result.output)
  }

  @Test(
    "the backend that it expects is the one that an open gets, and it leaves the interface alone")
  func expectation() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      try NetworkNamespace.run("ip", "link", "add", "bridge", "type", "bridge")
      try NetworkNamespace.run("ip", "link", "set", "bridge", "up")
      let clean = InterfaceState("near")
      let engine = try EmbeddedEngine()
      for (name, backend, withHost) in [
        ("near", "xdp copy", "xdp copy"), ("bridge", "packet", "packet"),
      ] {
        let (status, text) = try examine(name)
        #expect(status == 0)
        #expect(text.contains("  backend: \(backend)\n"), "\(text)")
        #expect(text.contains("  host rings: yes, with \(withHost)"), "\(text)")
        #expect(
          text.contains("    not xdp zerocopy: its driver does not support zero-copy")
            == (name == "near"))
        #expect(InterfaceState("near") == clean)
        for (suffix, expected) in [("", backend), ("*", withHost)] {
          let opened = try NetmapPort("netmap:\(name)\(suffix)", engine: engine).backend
          #expect(
            [opened?.name ?? "", opened?.mode ?? ""].filter { !$0.isEmpty }.joined(separator: " ")
              == expected)
        }
      }
      withExtendedLifetime(pair) {}
    }
  }

  @Test("an attached program, offloads, an interface that is down, and all interfaces as JSON")
  func facts() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "on")
      let port = try NetmapPort("netmap:near@backend:name=xdp", engine: EmbeddedEngine())
      let (_, text) = try examine("near")
      #expect(text.contains("driver veth, up, MTU 1500"), "\(text)")
      #expect(text.contains("XDP program ") && text.contains("backend: packet"), "\(text)")
      port.close()
      #expect(
        try examine("near").output.contains("its veth peer far leaves to near are completed"))
      try NetworkNamespace.run("ip", "link", "set", "near", "down")
      #expect(try examine("near").output.contains("ip link set near up"))
      let lines = try examine("--json").output.split(separator: "\n")
      #expect(lines.count == 3)
      #expect(
        lines.contains {
          $0.hasPrefix("{\"interface\":\"near\"") && $0.contains("\"driver\":\"veth\"")
        })
      let unknown = try examine("nowhere")
      #expect(unknown.status == 1 && unknown.output.contains("ip link"))
      withExtendedLifetime(pair) {}
    }
  }
}
