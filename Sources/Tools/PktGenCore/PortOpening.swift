internal import Netmap
internal import ToolSupport

/// Opens the port of a run, with one binding for each thread.
struct Opening {
  /// The requested configuration, updated with properties of the port.
  private(set) var configuration: Configuration
  let engine: (any PortEngine)?
  let log: ToolLog

  /// Number of rings that the threads share.
  private(set) var queueCount = 1
  /// Nil for `null`.
  private(set) var specification: PortSpecification?

  /// A representative packet, for size checks.
  let template: FrameTemplate
  let sourceMAC: String

  /// - Throws: ``Refusal`` for a name that cannot be used, or a packet that cannot be built.
  init(
    _ configuration: Configuration, engine: (any PortEngine)?, log: ToolLog
  ) throws(Refusal) {
    self.configuration = configuration
    self.engine = engine
    self.log = log
    switch configuration.interface {
    case .null: break
    case .tap(let name):
      throw Refusal(
        "cannot open tap \(name): pkt-gen does not open TAP devices directly; "
          + "create it with ip-tuntap(8) and use -i netmap:\(name)")
    case .pcap(let name):
      throw Refusal(
        "cannot open pcap on \(name): live captures of libpcap are not supported; "
          + "use -i netmap:\(name)")
    case .netmap(let text):
      do throws(NetmapError) {
        specification = try PortSpecification.parse(
          text, interfaceExists: NetworkInterface.exists)
      } catch {
        throw Refusal("\(error)")
      }
    }
    if let rings = configuration.rings {
      for word in rings.ignored { log("ignored config: \(word)", function: "parse_nmr_config") }
      specification?.conf = rings.hints
    }
    specification?.flags.insert(.acceptVirtioNetHeader)
    let name = specification?.name.rawValue ?? ""
    sourceMAC =
      configuration.sourceMACText ?? NetworkInterface.address(of: name)
      ?? MACAddress.zero.description
    template = try FrameTemplate.make(for: configuration, sourceMAC: sourceMAC)
  }

  /// Opens the port for the first thread.
  ///
  /// - Throws: ``Refusal`` when it cannot be opened, has too few rings, or cannot carry the packets.
  mutating func open() throws(Refusal) -> Link {
    if let message = configuration.mode.threadLimitMessage, configuration.threads > 1 {
      throw Refusal(message, status: Refusal.threadStatus)
    }
    // Refuse this before creating anything.
    guard configuration.threads >= 1 else {
      throw Refusal("bad nthreads \(configuration.threads), it must be 1 or more")
    }
    if configuration.options.contains(.indirect) && !configuration.interface.isSwitchPort {
      throw Refusal(
        "indirect buffers (-I) are for ports of VALE switches only; "
          + "\(configuration.interface.text) is not such a port")
    }
    let link = try bind(thread: 0)
    if let backend = link.port.backend { log("\(link.port.name): \(backend)") }
    queueCount = countQueues(link.port)
    guard configuration.threads <= queueCount else {
      throw Refusal("bad nthreads \(configuration.threads), have \(queueCount) queues")
    }
    agreeOnHeader(link.port)
    try checkSize()
    return link
  }

  /// Sets the port's virtio-net header length (`-H`), or reads it from the port.
  private mutating func agreeOnHeader(_ port: NetmapPort) {
    let wanted = configuration.virtioHeaderLength
    guard wanted > 0 else {
      guard configuration.interface.isSwitchPort else { return }
      configuration.virtioHeaderLength = (try? port.virtioNetHeader()) ?? 0
      return
    }
    do throws(NetmapError) {
      try port.setVirtioNetHeader(wanted)
    } catch {
      log(
        "Unable to set virtio-net header length \(wanted): \(error.reason); "
          + "packets on \(port.name) still begin with an empty header",
        function: "set_vnet_hdr_len")
    }
  }

  /// Opens the binding of thread `index`.
  func bind(thread index: Int) throws(Refusal) -> Link {
    do throws(NetmapError) {
      guard var specification else { return try Link.null(frame: template.bytes) }
      if configuration.threads > 1 {
        specification.selection = try selection(ofThread: index)
        if configuration.mode.role == .receiver { specification.flags.insert(.noTransmitPoll) }
      }
      let engine =
        if let engine { engine } else {
          try ToolEngine.choose(embedded: configuration.isEmbedded)
        }
      return Link(try NetmapPort(specification, engine: engine))
    } catch {
      throw Refusal("\(error)")
    }
  }

  /// The ring of a thread; host rings follow the hardware rings.
  private func selection(ofThread index: Int) throws(NetmapError) -> RingSelection {
    let ring = UInt16(clamping: index)
    switch specification?.selection {
    case .host: return .oneHost(ring)
    case .oneHardware(let only): return .oneHardware(only)
    case .oneHost(let only): return .oneHost(only)
    case .hardwareAndHost where index >= hardwareRings:
      return .oneHost(ring - UInt16(hardwareRings))
    case .allHardware, .hardwareAndHost, .null, nil: return .oneHardware(ring)
    }
  }

  /// Known once the first thread has its port.
  ///
  /// That thread takes ring 0.
  private var hardwareRings = Int(UInt16.max)

  private mutating func countQueues(_ port: NetmapPort) -> Int {
    let geometry = port.geometry
    let sends = configuration.mode.role == .sender
    hardwareRings = sends ? geometry.transmitRings : geometry.receiveRings
    let hostRings = sends ? geometry.hostTransmitRings : geometry.hostReceiveRings
    switch specification?.selection {
    case .allHardware, .null, nil: return hardwareRings
    case .hardwareAndHost: return hardwareRings + hostRings
    case .host: return hostRings
    case .oneHardware, .oneHost: return 1
    }
  }

  /// Compares the frame's length with the interface's MTU.
  ///
  /// Pipes and switch ports have no such limit.
  private func checkSize() throws(Refusal) {
    guard configuration.mode.role == .sender, let specification,
      !configuration.interface.isSwitchPort,
      let mtu = NetworkInterface.mtu(of: specification.name.rawValue)
    else { return }
    try Self.check(template.bytes, mtu: mtu)
  }

  /// Refuses a frame that exceeds an MTU.
  ///
  /// An MTU excludes the Ethernet header and its VLAN tag.
  static func check(_ frame: [UInt8], mtu: Int) throws(Refusal) {
    let type = frame.count >= 14 ? Array(frame[12..<14]) : []
    let isTagged = type == [0x81, 0x00] || type == [0x88, 0xa8]
    let header = FrameLayout.ethernetLength + (isTagged ? 4 : 0)
    guard frame.count <= mtu + header else {
      throw Refusal(
        "pkt_size (\(frame.count)) must be <= mtu (\(mtu)) + \(header) bytes of Ethernet header")
    }
  }

  /// Seconds to wait before sending or receiving.
  var linkWait: Int {
    if let seconds = configuration.linkWait { return seconds }
    guard let specification, !configuration.interface.isSwitchPort else { return 0 }
    let name = specification.name.rawValue
    return NetworkInterface.exists(name) && NetworkInterface.mayResetLink(name) ? 2 : 0
  }
}
