internal import CBPF
internal import CLinux
internal import Glibc
package import NetmapCore

/// What `netmap doctor` says about one interface: how it is, and which backend would drive it.
///
/// The report opens no port, and attaches nothing to the interface, so its traffic is undisturbed. What only an open can
/// tell is therefore an expectation: whether the queues are free, and what a driver refuses that its list of features
/// promises.
package struct InterfaceExamination: Sendable {
  /// A backend candidate, and why it would be refused.
  package struct Candidate: Sendable {
    /// As in messages: `xdp copy`, `packet`.
    package let title: String
    /// The expected refusal; nil if the candidate is expected to work.
    package let refusal: NetmapError?
    /// Whether host rings could be used beside it.
    package let allowsHostRings: Bool
    /// What a port would say of frames that arrive incomplete; nil when there is nothing to say.
    package let remark: String?
  }

  package let name: String
  package let index: UInt32
  package let isUp: Bool
  /// Bytes, without the Ethernet header.
  package let mtu: Int
  /// The name of the driver (`ethtool -i`); nil when it does not say.
  package let driver: String?
  package let receiveQueues: Int
  package let transmitQueues: Int
  /// The offloads that matter to netmap, by the names of `ethtool -k`, and whether they are on. Empty when the driver
  /// does not say.
  package let offloads: [(name: String, isOn: Bool)]
  /// The ids of attached XDP programs; none on most interfaces.
  package let xdpPrograms: [UInt32]
  /// How many programs tcx links hold at ingress and egress.
  package let ingressPrograms: Int
  package let egressPrograms: Int
  /// The backend candidates, best first.
  package let candidates: [Candidate]
  /// Why host rings would be refused; nil if they are expected to work.
  package let hostRingRefusal: NetmapError?
  /// What would help, one line each.
  package let advice: [String]

  /// The candidate that an open would get.
  package var choice: Candidate? { candidates.first { $0.refusal == nil } }
  /// The candidate that an open with host rings would get.
  package var choiceWithHostRings: Candidate? {
    hostRingRefusal != nil ? nil : candidates.first { $0.refusal == nil && $0.allowsHostRings }
  }

  /// The names of the interfaces in the calling thread's network namespace, by index.
  package static var interfaces: [String] {
    guard let list = unsafe if_nameindex() else { return [] }
    defer { unsafe if_freenameindex(list) }
    var names: [String] = []
    var at = unsafe list
    while let text = unsafe at.pointee.if_name {
      unsafe names.append(String(cString: text))
      unsafe at += 1
    }
    return names
  }

  /// Examines an interface in the calling thread's network namespace.
  ///
  /// - Throws: ``NetmapError`` `ENXIO` when no interface has that name, or the error of a lookup.
  package init(of name: String) throws(NetmapError) {
    guard let interface = try LinuxInterface(named: name) else {
      throw NetmapError(
        .noSuchDevice, "examine", name, reason: "there is no interface of that name",
        remedy: "see 'ip link' for the interfaces of this network namespace")
    }
    let request = try InterfaceRequest(name)
    self.name = name
    index = interface.index
    isUp = interface.isUp
    mtu = interface.mtu
    driver = request.driver
    (receiveQueues, transmitQueues) = (interface.receiveQueues, interface.transmitQueues)
    let features = (try? request.features()) ?? []
    offloads = features.filter { Self.offloads.contains($0.name) }.map { ($0.name, $0.isActive) }
    var (native, generic, hardware): (UInt32, UInt32, UInt32) = (0, 0, 0)
    let found = unsafe cbpf_xdp_query(CInt(interface.index), &native, &generic, &hardware) == 0
    xdpPrograms = found ? Array(Set([native, generic, hardware].filter { $0 != 0 })).sorted() : []
    ingressPrograms = Self.programs(interface.index, CLINUX_BPF_TCX_INGRESS)
    egressPrograms = Self.programs(interface.index, CLINUX_BPF_TCX_EGRESS)
    let rights = Self.rights(on: interface)
    let facts = DeviceFeatures.of(interface.index)
    candidates = LinuxInterfaces.standardCandidates.map { candidate in
      Candidate(
        title: candidate.title, refusal: candidate.expectedRefusal(of: interface, facts, rights),
        allowsHostRings: !candidate.excludesHostRings, remark: candidate.remark(on: interface))
    }
    hostRingRefusal = Self.hostRingRefusal(of: interface, rights)
    advice = Self.advice(for: interface, features, candidates)
  }

  private static let offloads: Set<String> = [
    "rx-checksum", "tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-tcp-segmentation",
    "tx-generic-segmentation", "rx-gro", "rx-lro", "rx-vlan-hw-parse", "tx-vlan-hw-insert",
  ]

  private static func programs(_ index: UInt32, _ hook: Int) -> Int {
    var count: UInt32 = 0
    // Without room for ids the call fails, but sets the count.
    _ = unsafe bpf_prog_query(
      CInt(index), bpf_attach_type(UInt32(hook)), 0, nil, nil, &count)
    return Int(count)
  }

  /// What this process may do: nil where it may.
  struct Rights {
    var programs: NetmapError?
    var xdpSockets: NetmapError?
    var packetSockets: NetmapError?
  }

  private static func rights(on interface: LinuxInterface) -> Rights {
    func refusal(_ body: () throws(NetmapError) -> Void) -> NetmapError? {
      do throws(NetmapError) {
        try body()
        return nil
      } catch {
        return error
      }
    }
    return Rights(
      programs: refusal { () throws(NetmapError) in
        _ = try BPFObject(BPFObjectCode.packetIngressDrop, for: interface.name)
      },
      xdpSockets: refusal { () throws(NetmapError) in
        close(unsafe try XDPSocket.open(for: interface.name, registering: nil))
      },
      packetSockets: refusal { () throws(NetmapError) in
        close(try PacketSocket.open(for: interface.name))
      })
  }

  private static func hostRingRefusal(of interface: LinuxInterface, _ rights: Rights)
    -> NetmapError?
  {
    if let refusal = rights.programs ?? rights.xdpSockets { return refusal }
    var count: UInt32 = 0
    let result = unsafe bpf_prog_query(
      CInt(interface.index), bpf_attach_type(UInt32(CLINUX_BPF_TCX_INGRESS)), 0, nil, nil, &count)
    guard result == -EINVAL else { return nil }
    return NetmapError(
      .unsupported, "open", interface.name,
      reason: "host rings need tcx, which this kernel does not have",
      remedy: "use Linux 6.6 or later")
  }

  private static func advice(
    for interface: LinuxInterface, _ features: [InterfaceFeature], _ candidates: [Candidate]
  ) -> [String] {
    var lines: [String] = []
    if !interface.isUp { lines.append("it is down: ip link set \(interface.name) up") }
    let best = candidates.first { $0.refusal == nil }
    if let remark = best?.remark { lines.append(remark) }
    let isOn = { (name: String) in features.contains { $0.name == name && $0.isActive } }
    if isOn("rx-lro") {
      lines.append(
        "large receive offload is on, and many drivers run no XDP program with it:"
          + " ethtool -K \(interface.name) lro off")
    }
    for candidate in candidates {
      if candidate.title == best?.title { break }
      // Nobody can give a driver a mode that it does not have.
      guard let refusal = candidate.refusal, refusal.code != .unsupported, !refusal.remedy.isEmpty
      else { continue }
      let line = "for \(candidate.title): \(refusal.remedy)"
      if !lines.contains(line) { lines.append(line) }
    }
    return lines
  }
}

extension BackendCandidate {
  /// As ``InterfaceDriver/remarks``, before there is a driver. Packet sockets complete frames on every interface.
  fileprivate func remark(on interface: LinuxInterface) -> String? {
    guard name == .xdp else { return nil }
    let frames = interface.arrivingFrames
    return mode != .generic && frames.canBeFinishedByXDP
      ? frames.remarkOfFinished(on: interface.name) : frames.remark(for: interface.name)
  }

  /// Why this candidate would probably be refused; nil if it is expected to work.
  fileprivate func expectedRefusal(
    of interface: LinuxInterface, _ features: DeviceFeatures?, _ rights: InterfaceExamination.Rights
  ) -> NetmapError? {
    func refusal(
      _ code: NetmapError.Code, _ reason: String, _ remedy: String = ""
    ) -> NetmapError {
      NetmapError(code, "open", interface.name, reason: reason, remedy: remedy)
    }
    guard name == .xdp else {
      if let refusal = rights.packetSockets { return refusal }
      do throws(NetmapError) {
        _ = try drive(interface, isDemanded: false)
        return nil
      } catch {
        return error
      }
    }
    if let refusal = rights.xdpSockets ?? rights.programs { return refusal }
    do throws(NetmapError) {
      try XDPProgram.refuseForeignProgram(on: interface)
    } catch {
      return error
    }
    guard mode != .generic else { return nil }
    // A kernel that does not tell gets the benefit of the doubt only for copy mode.
    if let features, !features.contains([.programs, .redirect]) {
      return refusal(.unsupported, "its driver does not run XDP programs")
    }
    if mode == .zerocopy, features?.contains(.zeroCopy) != true {
      return refusal(.unsupported, "its driver does not support zero-copy")
    }
    return nil
  }
}
