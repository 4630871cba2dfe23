import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// What a port on a veth says about the checksums of the packets that its peer sends.
@Suite struct ArrivingChecksumsTests {
  /// The remarks of a port that is opened for the purpose.
  private func remarks(_ name: String) throws -> [String] {
    let port = try NetmapPort(name, engine: EmbeddedEngine())
    return try #require(port.backend).remarks
  }

  @Test(
    "a peer that offloads checksums: the port names it and what to do, until the offload is off")
  func samePlace() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      #expect(try remarks("netmap:near") == [])
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "on")
      for mode in ["copy", "generic"] {
        let remarks = try remarks("netmap:near@backend:name=xdp,mode=\(mode)")
        #expect(remarks.count == 1)
        #expect(remarks.first?.contains("arrive on near with unfinished checksums") == true)
        #expect(remarks.first?.hasSuffix("at its veth peer far: ethtool -K far tx off") == true)
      }
      #expect(try remarks("netmap:\(pair.second)") == [])
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "off")
      #expect(try remarks("netmap:near") == [])
    }
  }

  @Test("packet sockets finish checksums, and a port that only sends gets none: no remark")
  func unaffected() throws {
    try NetworkNamespace.run {
      _ = try VethPair("near", "far")
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "on")
      #expect(try remarks("netmap:near@backend:name=packet") == [])
      #expect(try remarks("netmap:near/T") == [])
      #expect(try remarks("netmap:near/R").count == 1)
    }
  }

  @Test("a peer in another network namespace: the port says that checksums may be unfinished")
  func elsewhere() throws {
    try NetworkNamespace.run {
      _ = try VethPair("near", "far")
      // An interface here has the index that the peer has over there.
      _ = try VethPair("other", "another")
      try NetworkNamespace.run("ethtool", "-K", "another", "tx", "on")
      let place = try TestProgram(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 100"])
      defer { place.kill(SIGKILL) }
      #expect(place.readLine() == "ready\n")
      try NetworkNamespace.run("ip", "link", "set", "far", "netns", "\(place.process)")
      let remarks = try remarks("netmap:near@backend:name=xdp")
        .filter { !$0.hasPrefix("it is down") }
      #expect(remarks.count == 1)
      #expect(remarks.first?.contains("may arrive on near with unfinished checksums") == true)
      #expect(
        remarks.first?.contains("ethtool -K PEER tx off, in the network namespace of the peer")
          == true)
    }
  }
}
