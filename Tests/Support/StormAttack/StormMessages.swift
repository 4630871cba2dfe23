import NetmapClient
import NetmapCore

/// Messages to the daemon: valid ones, and ones that are not.
struct StormMessages {
  let place: StormPlace
  /// Names of a client that the daemon has given to this attacker, or to another one.
  var tags: [UInt64] = []
  var bindings: [UInt64] = []
  var doorbells: [UInt32] = []

  init(_ place: StormPlace) {
    self.place = place
  }

  /// All kinds, also those that only the daemon sends, and two that do not exist.
  static let kinds: [UInt16] = [
    1, 2, 3, 16, 17, 18, 19, 23, 24, 25, 26, 27, 28, 29, 32, 33, 34, 35, 0, 999,
  ]

  func bytes(of kind: UInt16, _ random: inout StormRandom) -> [UInt8] {
    guard let known = Message.Kind(rawValue: kind) else {
      var bytes = Message.bytes(.list) { $0.put(random.next()) }
      (bytes[6], bytes[7]) = (UInt8(truncatingIfNeeded: kind), UInt8(kind >> 8))
      return bytes
    }
    return Message.bytes(known) { writer in
      switch known {
      case .hello, .check, .token, .dump: break
      case .forget: writer.put(random.chance(700) ? number(bindings, &random) : random.edge())
      case .ring:
        let bell = doorbells.isEmpty ? nil : random.pick(doorbells)
        writer.put(random.chance(700) ? bell ?? 1 : UInt32(truncatingIfNeeded: random.edge()))
      case .again:
        // Switches are numbered from 1 on.
        writer.put(random.chance(800) ? UInt64(1 + random.below(12)) : random.edge())
        writer.put(
          UInt8(truncatingIfNeeded: random.chance(800) ? UInt64(random.below(4)) : random.edge()))
      case .register:
        writer.put(request(&random))
        writer.put(client: tag(&random), viewEnd: random.chance(500) ? .withToken : .whenForgotten)
      case .mapPort, .unbind:
        writer.put(client: tag(&random), viewEnd: random.chance(500) ? .withToken : .whenForgotten)
      case .portInfo:
        writer.put(
          portInfo: random.chance(800) ? request(&random) : nil,
          memoryID: UInt16(truncatingIfNeeded: random.edge()))
      case .poolsInfo: writer.put(request(&random))
      // Only lists: a member that runs as the daemon's own user may set tunables, and would change what bystanders get.
      case .tunables: writer.put(TunableRequest.list)
      case .list: writer.put(UInt32(truncatingIfNeeded: random.chance(600) ? 0 : random.edge()))
      case .control: writer.put(switchRequest(&random))
      case .done, .refused, .doorbell, .neighbour: for _ in 0..<4 { writer.put(random.edge()) }
      }
    }
  }

  private func number(_ values: [UInt64], _ random: inout StormRandom) -> UInt64 {
    values.isEmpty ? random.edge() : random.pick(values)
  }

  private func tag(_ random: inout StormRandom) -> UInt64 {
    if random.chance(850), !tags.isEmpty { return random.pick(tags) }
    // Slots and epochs count up.
    return random.chance(700)
      ? UInt64(1 + random.below(64)) << 32 | UInt64(random.below(64)) : random.edge()
  }

  // MARK: - Ports

  /// The names that the attacker uses: few, so that they meet.
  private func name(_ random: inout StormRandom) -> PortName {
    let own = "s\(place.slot)"
    var texts = [
      "\(own)p{\(random.below(4))", "\(own)p}\(random.below(4))", "\(own)q{1", "storm{1", "storm}1",
      "vale\(5 + place.slot % 4):\(own)\(random.below(4))", "vale5:x", "vale8:\(own){1", "\(own)",
      "lo", "lo^", "nosuch0", "v0", "v1-0", "vale5:lo", "vale:", String(repeating: "n", count: 15),
    ]
    // Ports of bystanders. A member may open these, and then has their memory.
    texts += ["bystander{1", "bystander}1", "apart{1", "vale0:\(own)"]
    if random.chance(100) {
      let bytes = (0..<(1 + random.below(40))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      if let name = try? PortName(bytes: bytes) { return name }
    }
    return (try? PortName(random.pick(texts))) ?? PortName.storm
  }

  private func request(_ random: inout StormRandom) -> RegisterRequest {
    let name = name(&random)
    let isBystanders = ["bystander", "apart", "vale0", "v0", "v1"].contains {
      name.rawValue.hasPrefix($0)
    }
    let selections: [RingSelection] = [
      .allHardware, .allHardware, .allHardware, .host, .hardwareAndHost, .oneHardware(0),
      .oneHardware(.max), .oneHost(3), .null,
    ]
    var request = RegisterRequest(name: name, selection: random.pick(selections))
    if random.chance(200) {
      // A member may monitor and bind a bystander's port, and take its buffers. None of that is an attack.
      request.flags = BindingFlags(rawValue: random.next() & 0x3ffff)
    }
    // The worker would take a bystander's packets for an isolated port on the same rings.
    if random.chance(place.peer == .untrusted ? 200 : 400), !isBystanders {
      request.extensions.insert(.isolated)
    }
    if random.chance(60) { request.extensions.insert(.interfaceOnly) }
    if random.chance(40) { request.extensions.insert(.moduleHost) }
    // A member that does not read may keep senders of its switch from sending.
    if random.chance(60), !isBystanders { request.extensions.insert(.backpressure) }
    if random.chance(100) { request.memoryID = UInt16(truncatingIfNeeded: random.edge()) }
    let small = UInt32(8 << random.below(4))
    request.hints = RingGeometryHints(transmitSlots: small, receiveSlots: small)
    if random.chance(100) {
      func edge(_ random: inout StormRandom) -> UInt16 { UInt16(truncatingIfNeeded: random.edge()) }
      request.hints = RingGeometryHints(
        transmitSlots: UInt32(truncatingIfNeeded: random.edge()),
        receiveSlots: UInt32(truncatingIfNeeded: random.edge()), transmitRings: edge(&random),
        receiveRings: edge(&random), hostTransmitRings: edge(&random),
        hostReceiveRings: edge(&random))
    }
    if random.chance(100) {
      request.extraBuffers =
        random.chance(500)
        ? random.below(64) : Int(truncatingIfNeeded: random.edge())
    }
    if random.chance(50) {
      request.offsets = OffsetsOption(
        max: random.edge(), initial: random.edge(), bits: UInt32(truncatingIfNeeded: random.edge()),
        minimumGap: random.edge())
    }
    return request
  }

  // MARK: - Switches

  private func switchRequest(_ random: inout StormRandom) -> SwitchRequest {
    let own = "s\(place.slot)"
    let vale = "vale\(5 + place.slot % 4)"
    let names = [
      "\(vale):\(own)v", "\(vale):lo", "\(own)v", "\(own)w", "vale0:bystand", "v0", vale,
    ]
    let text = random.pick(names)
    let name = (try? PortName(text)) ?? PortName.storm
    var register = RegisterRequest(name: name)
    register.hints = RingGeometryHints(transmitSlots: 16, receiveSlots: 16)
    switch random.below(12) {
    case 0:
      // The bystanders' interface would be in use.
      return .attach(register)
    case 1: return .detach(name)
    case 2: return .find(name)
    case 3: return .next(switch: random.below(16), port: Int(clamping: random.edge() & 0xffff_ffff))
    case 4: return .create(RegisterRequest(name: (try? PortName("\(own)v")) ?? name))
    case 5: return .remove(name)
    case 6:
      // Threads that poll would take the bystanders' CPUs.
      return random.chance(500)
        ? .polling(name, nil)
        : .polling(PortName.storm, .each(first: random.below(1000), count: random.below(1 << 20)))
    case 7: return .information(name)
    case 8:
      // A member may set the header of a bystander's port, whose packets then begin with it.
      guard !text.hasPrefix("vale0") else { return .header(name) }
      return .setHeader(name, length: random.pick([0, 10, 12, 11, -1, 1 << 20]))
    case 9: return .header(name)
    case 10: return .module(random.pick([vale, "vale0", "vale3", "nothing"]), .report)
    default: return .module(vale, .choose(choice(&random)))
    }
  }

  private func choice(_ random: inout StormRandom) -> SwitchModuleChoice {
    switch random.below(6) {
    case 0: .learning
    case 1: .hub
    case 2: .balancer(outputs: (0..<random.below(8)).map { "out\($0)" })
    case 3: .filter(rules: random.pick(["", "drop", "accept\n", "proto 6 drop", "\u{0}"]))
    default:
      .loaded(
        path: random.pick(["/nonexistent.so", "/etc/passwd", "relative", "/proc/self/mem", "/"]),
        configuration: random.pick(["", "1", String(repeating: "c", count: 4000)]),
        fallback: .learning)
    }
  }

  // MARK: - Damage

  /// Truncates, extends or changes a message.
  static func damage(_ bytes: inout [UInt8], _ random: inout StormRandom) {
    switch random.below(9) {
    case 0: bytes.removeLast(random.below(bytes.count + 1))
    case 1: bytes = []
    case 2:
      for _ in 0..<(1 + random.below(8)) where !bytes.isEmpty {
        bytes[random.below(bytes.count)] ^= 1 << UInt8(random.below(8))
      }
    case 3: bytes += (0..<random.below(200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    case 4: bytes += [UInt8](repeating: 0, count: random.pick([40_000, 49_152, 49_153, 100_000]))
    case 5: bytes = (0..<random.below(64)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    default:
      // A field after the header, of 1, 2, 4 or 8 bytes.
      let width = 1 << random.below(4)
      guard bytes.count >= 8 + width else { return }
      let place = 8 + random.below(bytes.count - 8 - width + 1)
      let value = random.edge()
      for byte in 0..<width {
        bytes[place + byte] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(byte)))
      }
    }
  }
}

extension PortName {
  fileprivate static let storm: PortName = {
    guard let name = try? PortName("storm{9") else { fatalError("no name") }
    return name
  }()
}
