import Glibc
import Netmap
import NetmapCore
import NetmapLinuxSetup
import NetmapTestSupport
import Testing

/// What a port says about frames that their senders leave to its interface, and which backend it gets.
@Suite struct ArrivingFramesTests {
  /// The remarks of a port that is opened for the purpose.
  private func remarks(_ name: String) throws -> [String] {
    let port = try NetmapPort(name, engine: EmbeddedEngine())
    return try #require(port.backend).remarks
  }

  @Test("a peer that offloads: frames are completed; generic XDP cannot, and says what to do")
  func samePlace() throws {
    try NetworkNamespace.run {
      let pair = try VethPair("near", "far")
      #expect(try remarks("netmap:near") == [])
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "on")
      let finished = "checksums and VLAN tags that its veth peer far leaves to near are completed"
      for name in ["netmap:near", "netmap:near@backend:name=xdp,mode=copy"] {
        let remarks = try remarks(name)
        #expect(remarks.count == 1)
        #expect(remarks.first?.hasPrefix(finished) == true)
      }
      let generic = try remarks("netmap:near@backend:name=xdp,mode=generic")
      #expect(generic.count == 1)
      #expect(generic.first?.contains("arrive on near with unfinished checksums") == true)
      #expect(generic.first?.hasSuffix("at its veth peer far: ethtool -K far tx off") == true)
      #expect(try remarks("netmap:\(pair.second)") == [])
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "off")
      #expect(try remarks("netmap:near") == [])
      try NetworkNamespace.run("ethtool", "-K", "far", "txvlan", "on")
      #expect(try remarks("netmap:near").first?.hasPrefix(finished) == true)
      let untagged = try remarks("netmap:near@backend:name=xdp,mode=generic")
      #expect(untagged.first?.hasSuffix("at its veth peer far: ethtool -K far txvlan off") == true)
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
      func remark(_ name: String) throws -> String {
        let remarks = try remarks(name).filter { !$0.hasPrefix("it is down") }
        #expect(remarks.count == 1)
        return remarks.first ?? ""
      }
      #expect(try remark("netmap:near").hasPrefix("checksums and VLAN tags that its veth peer"))
      let generic = try remark("netmap:near@backend:name=xdp,mode=generic")
      #expect(generic.contains("may arrive on near with unfinished checksums"))
      #expect(generic.contains("ethtool -K PEER tx off, in the network namespace of the peer"))
    }
  }

  /// The rights of this process, with a kernel that cannot load the program that completes frames, or with interfaces
  /// of which something else is assumed.
  private struct ChangedRights: InterfaceRights {
    let own = OwnInterfaceRights()
    var canFinish = true
    var frames: ArrivingFrames?

    func identity(of name: String) throws(NetmapError) -> InterfaceIdentity {
      try own.identity(of: name)
    }
    func interface(named name: String) throws(NetmapError) -> LinuxInterface? {
      guard let found = try own.interface(named: name) else { return nil }
      return LinuxInterface(
        name: found.name, identity: found.identity, mtu: found.mtu, isUp: found.isUp,
        queues: (found.receiveQueues, found.transmitQueues),
        arrivingFrames: frames ?? found.arrivingFrames,
        rights: self)
    }
    func linkEvents(of interface: LinuxInterface) throws(NetmapError) -> CInt {
      try own.linkEvents(of: interface)
    }
    func xdpSocket(
      for interface: LinuxInterface, registering region: Region?, headroom: Int
    ) throws(NetmapError) -> CInt {
      try own.xdpSocket(for: interface, registering: region, headroom: headroom)
    }
    func xdpProgram(
      on interface: LinuxInterface, _ kind: XDPProgramKind
    ) throws(NetmapError) -> any AttachedXDPProgram {
      guard kind != .finishing || canFinish else {
        throw NetmapError(.unsupported, "open", interface.name, reason: "this kernel is too old")
      }
      return try own.xdpProgram(on: interface, kind)
    }
    func packetSocket(for interface: LinuxInterface) throws(NetmapError) -> CInt {
      try own.packetSocket(for: interface)
    }
    func ingressDrop(
      _ interface: LinuxInterface, avoidingLinks: Bool
    ) throws(NetmapError) -> any AttachedIngressDrop {
      try own.ingressDrop(interface, avoidingLinks: avoidingLinks)
    }
    func hostLeg(
      for interface: LinuxInterface, pairs: Int
    ) throws(NetmapError) -> any AttachedHostLeg {
      try own.hostLeg(for: interface, pairs: pairs)
    }
  }

  @Test("where XDP cannot complete frames, packet sockets do; who insists on XDP is told")
  func oldKernel() throws {
    try NetworkNamespace.run {
      _ = try VethPair("near", "far")
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "on")
      let engine = try Engine(interfaces: LinuxInterfaces(rights: ChangedRights(canFinish: false)))
      let port = try RawPort(engine, "near")
      #expect(port.registration.backend?.name == "packet")
      let refusals = port.registration.backend?.refusals ?? []
      #expect(refusals.contains("xdp copy: this kernel is too old"), "\(refusals)")
      port.close()
      let forced = try RawPort(engine, "near", "xdp,mode=copy")
      #expect(forced.registration.backend?.name == "xdp")
      #expect(
        forced.registration.backend?.remarks.first?.contains("with unfinished checksums") == true)
      forced.close()
      // A peer that leaves nothing undone needs no program for it.
      try NetworkNamespace.run("ethtool", "-K", "far", "tx", "off")
      let plain = try RawPort(engine, "near")
      #expect(plain.registration.backend?.name == "xdp")
      plain.close()
    }
  }

  @Test("the program that completes frames lets nothing pass on an interface that is no veth")
  func noVeth() throws {
    try NetworkNamespace.run {
      let tap = try Tap("tap0")
      try NetworkNamespace.run("ip", "link", "set", "tap0", "addrgenmode", "none", "up")
      let own = OwnInterfaceRights()
      let interface = try #require(try own.interface(named: "tap0"))
      #expect(throws: NetmapError.self) { try own.xdpProgram(on: interface, .finishing) }
      // Somebody has put the tap in the place of a veth after the look at the interface.
      let rights = ChangedRights(frames: .unknown)
      let engine = try Engine(interfaces: LinuxInterfaces(rights: rights))
      let port = try RawPort(engine, "tap0")
      #expect(port.registration.backend?.mode == "copy")
      for _ in 0..<10 { try tap.write(SampleFrames.datagram(port: 9)) }
      for _ in 0..<500 where port.counters(.receive).drops[.unfinished] < 10 {
        usleep(10_000)
        port.sync(.receive)
      }
      #expect(port.counters(.receive).drops.description == "unfinished 10")
      #expect(port.counters(.receive).packets == 0)
      port.close()
    }
  }

  @Test("a tap whose programs write virtio-net headers gets packet sockets, another one XDP")
  func tap() throws {
    try NetworkNamespace.run {
      for (options, backend) in [([], "xdp"), (["vnet_hdr"], "packet")] {
        _ = try TestProgram.output(
          of: ["ip", "tuntap", "add", "dev", "tap0", "mode", "tap"] + options)
        try NetworkNamespace.run("ip", "link", "set", "tap0", "up")
        let port = try NetmapPort("netmap:tap0", engine: EmbeddedEngine())
        #expect(port.backend?.name == backend, "\(options): \(String(describing: port.backend))")
        port.close()
        try NetworkNamespace.run("ip", "link", "delete", "tap0")
      }
    }
  }
}
