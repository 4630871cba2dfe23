internal import CNetmap
internal import Glibc

/// Makes the function table with which a shared object offers a ``SwitchModule`` to switches.
///
/// A package whose dynamic library contains a module needs only this:
///
///     @c(netmap_switch_module)
///     public func netmapSwitchModule() -> UnsafeRawPointer {
///       unsafe SwitchModuleLibrary.table(of: MyModule.self)
///     }
public enum SwitchModuleLibrary {
  /// The function table of a module type: a `struct netmap_module` that is never freed.
  @unsafe
  public static func table<Module: SwitchModule & ~Copyable>(
    of type: Module.Type
  ) -> UnsafeRawPointer {
    let factory: AnyModuleFactory = ModuleFactory<Module>()
    let table = UnsafeMutablePointer<netmap_module>.allocate(capacity: 1)
    unsafe table.initialize(
      to: functions(Module.self, user: Unmanaged.passRetained(factory).toOpaque()))
    return UnsafeRawPointer(table)
  }

  /// The functions for boxed modules.
  static func functions<Module: SwitchModule & ~Copyable>(
    _ type: Module.Type, user: UnsafeMutableRawPointer?
  ) -> netmap_module {
    unsafe netmap_module(
      version: UInt32(NETMAP_MODULE_VERSION), size: UInt32(MemoryLayout<netmap_module>.size),
      name: UnsafePointer(strdup(Module.name)), user: user,
      create: { user, text, module, error, size in
        unsafe createBox(user, text, module, error, size)
      },
      lookup: { module, batch in unsafe lookUpInBox(module, UnsafeMutableRawPointer(batch)) },
      configure: { module, text, error, size in
        guard let box = unsafe box(module), let text = unsafe text else { return EINVAL }
        let configuration = unsafe String(cString: text)
        do throws(NetmapError) {
          try box.configure(configuration)
          return 0
        } catch let refusal {
          return unsafe report(refusal, error, size)
        }
      },
      port_left: { module, index in unsafe box(module)?.portLeft(Int(index)) },
      statistics: { module, text, size in
        guard let box = unsafe box(module), let text = unsafe text else { return 0 }
        var count = 0
        for statistic in box.statistics {
          let line = Array("\(statistic.name) \(statistic.value)\n".utf8)
          guard count + line.count <= Int(size) else { break }
          for byte in line {
            unsafe text[count] = CChar(bitPattern: byte)
            count += 1
          }
        }
        return UInt32(count)
      },
      destroy: { module in
        guard let module = unsafe module else { return }
        unsafe Unmanaged<AnyModuleBox>.fromOpaque(module).release()
      },
      flags: UInt32(NETMAP_MODULE_TAKES_SLOTS)
        | (Module.decidesByAddresses ? UInt32(NETMAP_MODULE_BY_ADDRESSES) : 0), spare: 0)
  }

  /// Boxes a module that is already in this process, for use with the same functions.
  static func wrap<Module: SwitchModule & ~Copyable>(
    _ module: consuming Module
  ) -> UnsafeMutableRawPointer {
    let box: AnyModuleBox = ModuleBox(module)
    return unsafe Unmanaged.passRetained(box).toOpaque()
  }
}

private func box(_ module: UnsafeMutableRawPointer?) -> AnyModuleBox? {
  guard let module = unsafe module else { return nil }
  return unsafe Unmanaged<AnyModuleBox>.fromOpaque(module).takeUnretainedValue()
}

/// The data path's entry into a box; it counts no references.
func lookUpInBox(_ module: UnsafeMutableRawPointer?, _ batch: UnsafeMutableRawPointer?) {
  guard let module = unsafe module, let batch = unsafe batch else { return }
  unsafe Unmanaged<AnyModuleBox>.fromOpaque(module)._withUnsafeGuaranteedRef { box in
    unsafe box.lookup(SwitchBatch(batch.assumingMemoryBound(to: ModuleBatch.self)))
  }
}

private func createBox(
  _ user: UnsafeMutableRawPointer?, _ text: UnsafePointer<CChar>?,
  _ module: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ error: UnsafeMutablePointer<CChar>?,
  _ size: UInt32
) -> Int32 {
  guard let user = unsafe user, let text = unsafe text, let module = unsafe module else {
    return EINVAL
  }
  let factory = unsafe Unmanaged<AnyModuleFactory>.fromOpaque(user).takeUnretainedValue()
  do throws(NetmapError) {
    let made = try factory.make(unsafe String(cString: text))
    unsafe module.pointee = unsafe Unmanaged.passRetained(made).toOpaque()
    return 0
  } catch let refusal {
    return unsafe report(refusal, error, size)
  }
}

/// Writes the reason and the remedy of an error as a string, and returns the error's code.
private func report(
  _ error: NetmapError, _ text: UnsafeMutablePointer<CChar>?, _ size: UInt32
) -> Int32 {
  if let text = unsafe text, size > 0 {
    let bytes = Array("\(error.reason)\n\(error.remedy)".utf8.prefix(Int(size) - 1))
    for (place, byte) in bytes.enumerated() { unsafe text[place] = CChar(bitPattern: byte) }
    unsafe text[bytes.count] = 0
  }
  return error.code.rawValue == 0 ? EINVAL : error.code.rawValue
}
